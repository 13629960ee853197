"""See that no host is in the lockspace any more: only then may it be written anew."""

from dataclasses import dataclass
from shlex import quote

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
# What the daemon has joined, as it writes it: it knows a lockspace by name, id and path, and the
# path is the one that the agent gave, through whatever links (3.4: below ha_agent; later: below
# /run/vdsm). Its own spelling can be given back to it (sanlock, status_lockspace); a word after it
# says that it is on its way in or out.
LISTED = r"""
listed() { sanlock client status | sed -n 's/^s \(hosted-engine:.*:[0-9][0-9]*\).*$/\1/p'; }
"""
SHOW_LISTED = f"{LISTED}listed"
# sanlock ends whoever holds a lease in a lockspace that is left: in hosted engine's nobody should.
LEAVE = rf"""{LISTED}
for unit in ovirt-ha-agent ovirt-ha-broker; do
  case $(systemctl is-active "$unit") in inactive|failed) ;; *) echo "$unit runs"; exit 67 ;; esac
done
if sanlock client status | grep -q '^r hosted-engine:'; then echo "a lease is held"; exit 68; fi
listed | while IFS= read -r spec; do sanlock client rem_lockspace -s "$spec" || exit; done
"""


class StillJoined(Exception):
    """A host's sanlock keeps the lockspace; raised by leave_lockspace."""


@dataclass(frozen=True, slots=True)
class NotLeft:
    """What speaks against nobody being in the lockspace, and the commands against that."""

    problem: str
    remedy: str


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
        sh(LEAVE),
        step="leave_lockspace",
        timeout_seconds=limit("leave_seconds"),
        accept=range(256),
    )
    if _look(site, lockspace, host).lists():
        raise StillJoined(
            f"{host}: sanlock still lists {NAME} after `sanlock client rem_lockspace` (exit code"
            f" {ran.exit_code}: {ran.stdout.strip()[-200:]}); see `sanlock client status` and"
            f" /var/log/sanlock.log there; {leave_by_hand(site, host)}; then start a new run"
        )
    return Outcome.CHANGED


@wait(foretold=foretell_left)
def wait_until_left(site: Site, lockspace: Lockspace) -> LeftProof:
    """Wait until no daemon is in the lockspace and nobody renews a lease. Raises TimedOut."""

    def missing() -> str | None:
        found = not_left(site, lockspace)
        return None if found is None else f"{found.problem}; {found.remedy}"

    wait_until(
        f"nobody in lockspace {NAME}",
        missing,
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
        raise CheckRefused(missing.problem, f"{missing.remedy}; then start a new run")
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
    found = _joined(site, lockspace)
    return None if found is None else found.problem


def not_left(site: Site, lockspace: Lockspace) -> NotLeft | None:
    """Return what speaks against nobody being in the lockspace, or None.

    A host that no inventory names would renew its lease every 20 s: two reads differ then.
    """
    joined = _joined(site, lockspace)
    if joined is not None:
        return joined
    area, path = site.at(lockspace.target), lockspace.target.path
    before = area.digest(site.witness, path)
    world().clock.sleep(limit("quiet_seconds"))
    if area.digest(site.witness, path) != before:
        return NotLeft(
            f"somebody writes to {path}",
            f"on {site.witness}, twice within a minute: sanlock direct dump {_escaped(path)}; whose"
            " timestamp grows is a host to stop: systemctl stop ovirt-ha-agent ovirt-ha-broker",
        )
    if area.digest(site.actor, path) != before:
        return NotLeft(
            f"{site.actor} and {site.witness} do not see the same lockspace",
            f"on both: stat -L {quote(path)}; mount | grep /rhev; see to the one whose storage is"
            " not the cluster's",
        )
    return None


def leave_by_hand(site: Site, host: str) -> str:
    """Return the commands with which a person takes a host out of the lockspace."""
    ran = site.shell(host).run(sh(SHOW_LISTED), timeout_seconds=limit("look_seconds"))
    leave = (f"sanlock client rem_lockspace -s {quote(spec)}" for spec in ran.stdout.splitlines())
    return f"on {host}: {' && '.join(leave) or 'nothing, it has just left'}"


def _joined(site: Site, lockspace: Lockspace) -> NotLeft | None:
    running = still_running(site)
    if running is not None:
        return NotLeft(running, "on each of them: systemctl stop ovirt-ha-agent ovirt-ha-broker")
    looks = ask_sanlock(site.cluster, lockspace, DEFAULT_SECTOR_BYTES)
    listed = [each.host for each in looks if each.lists()]
    if not listed:
        return None
    by_hand = "; ".join(leave_by_hand(site, host) for host in listed)
    return NotLeft(f"sanlock lists {NAME} on {', '.join(listed)}", by_hand)


def _escaped(path: str) -> str:
    """Return a path as an argument of `sanlock direct dump`, which ends a path at a colon."""
    return quote(path.replace(":", "\\:"))


def now_id(site: Site, host: str) -> int:
    """Return a host's id, as the inventory gives it."""
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
