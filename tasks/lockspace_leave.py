"""See that no host is in the lockspace any more: only then may it be written anew."""

from dataclasses import dataclass

from tasks.env import world
from tasks.hosts import sh
from tasks.limits import limit
from tasks.lockspace import DEFAULT_SECTOR_BYTES, Lockspace, ask_sanlock
from tasks.lockspace_sanlock import NAME, SanlockLook, look_at_sanlock
from tasks.plan import planning
from tasks.recorded import Outcome, change, check, wait
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.runs import log
from tasks.services import still_running
from tasks.steps import claimed, run_once
from tasks.waiting import wait_until

EVERY_SECONDS = 3.0
# sanlock ends whoever holds a lease in a lockspace that is left: in hosted engine's nobody should.
LEAVE = r"""
for unit in ovirt-ha-agent ovirt-ha-broker; do
  case $(systemctl is-active "$unit") in inactive|failed) ;; *) echo "$unit runs"; exit 67 ;; esac
done
if sanlock client status | grep -q '^r hosted-engine:'; then echo "a lease is held"; exit 68; fi
path=$(printf %s "$1" | sed 's/:/\\:/g')
sanlock client rem_lockspace -s "hosted-engine:$2:$path:0"
"""


class StillJoined(Exception):
    """A host's sanlock keeps the lockspace; raised by leave_lockspace."""


@dataclass(frozen=True, slots=True)
class LeftProof:
    """How it is known that nobody is in the lockspace."""

    hosts: tuple[str, ...]
    quiet_seconds: float


def foretell_left(site: Site, lockspace: Lockspace) -> LeftProof:
    """Return what the wait is to prove."""
    del lockspace
    return LeftProof(site.hosts, limit("quiet_seconds"))


@change
def leave_lockspace(site: Site, lockspace: Lockspace, host: str) -> Outcome:
    """Take one host out of the lockspace that its stopped agent left behind.

    Raises StillJoined.
    """
    if not _look(site, lockspace, host).lists() and not begun(host, "leave_lockspace"):
        return Outcome.ALREADY
    # Any exit code: what counts is what the daemon lists afterwards.
    ran = run_once(
        site.shell(host),
        sh(LEAVE, lockspace.target.path, str(now_id(site, host))),
        step="leave_lockspace",
        timeout_seconds=limit("leave_seconds"),
        accept=range(256),
    )
    if _look(site, lockspace, host).lists():
        raise StillJoined(
            f"{host}: sanlock still lists {NAME} after `sanlock client rem_lockspace` (exit code"
            f" {ran.exit_code}: {ran.stdout.strip()[-200:]}); see `sanlock client status` and"
            " /var/log/sanlock.log there, then start a new run"
        )
    return Outcome.CHANGED


@wait(foretold=foretell_left)
def wait_until_left(site: Site, lockspace: Lockspace) -> LeftProof:
    """Wait until no daemon is in the lockspace and nobody renews a lease. Raises TimedOut."""
    wait_until(
        f"nobody in lockspace {NAME}",
        lambda: not_left(site, lockspace),
        timeout_seconds=limit("leave_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return foretell_left(site, lockspace)


@check(foretold=foretell_left)
def require_left(site: Site, lockspace: Lockspace) -> LeftProof:
    """Require that no daemon is in the lockspace and nobody renews a lease.

    Raises CheckRefused.
    """
    missing = not_left(site, lockspace)
    if missing is not None:
        raise CheckRefused(missing, f"on that host: sanlock client rem_lockspace -s {NAME}:ID:PATH")
    return foretell_left(site, lockspace)


def require_still_out(site: Site, lockspace: Lockspace, step: str) -> None:
    """Refuse to send a write while anybody is in the lockspace, unless it was sent already.

    A recorded check may be of yesterday: a run that failed here can be retried at any time.
    Raises CheckRefused.
    """
    if planning() is None and not claimed(site.shell(site.actor), step=step):
        joined = still_joined(site, lockspace)
        if joined is not None:
            raise CheckRefused(joined, "nothing was written; start a new run")


def still_joined(site: Site, lockspace: Lockspace) -> str | None:
    """Return which units run, or which hosts are in the lockspace; or None."""
    running = still_running(site)
    if running is not None:
        return running
    looks = ask_sanlock(site.cluster, lockspace, DEFAULT_SECTOR_BYTES)
    listed = [each.host for each in looks if each.lists()]
    return f"sanlock lists {NAME} on {', '.join(listed)}" if listed else None


def not_left(site: Site, lockspace: Lockspace) -> str | None:
    """Return what speaks against nobody being in the lockspace, or None.

    A host that no inventory names would renew its lease every 20 s: two reads differ then.
    """
    joined = still_joined(site, lockspace)
    if joined is not None:
        return joined
    area = site.at(lockspace.target)
    before = area.digest(site.witness, lockspace.target.path)
    world().clock.sleep(limit("quiet_seconds"))
    if area.digest(site.witness, lockspace.target.path) != before:
        return f"somebody writes to {lockspace.target.path}"
    if area.digest(site.actor, lockspace.target.path) != before:
        return f"{site.actor} and {site.witness} do not see the same lockspace"
    return None


def now_id(site: Site, host: str) -> int:
    """Return a host's id."""
    return world().inventory.cluster(site.cluster).host(host).host_id


def _look(site: Site, lockspace: Lockspace, host: str) -> SanlockLook:
    return look_at_sanlock(
        site.shell(host),
        paths=(lockspace.target.path, lockspace.domain_ids),
        domain=lockspace.volume.storage_domain,
        host_id=now_id(site, host),
        sector_bytes=DEFAULT_SECTOR_BYTES,
        timeout_seconds=limit("look_seconds"),
    )
