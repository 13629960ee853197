"""Remove the storage domain of a failed installation: only its own directory, proven unused."""

from dataclasses import dataclass, replace
from posixpath import basename

from tasks.env import Ran, world
from tasks.hosts import sh
from tasks.limits import limit
from tasks.metadata import BLOCK_DOMAINS, MOUNTS
from tasks.plan import planning
from tasks.recorded import Outcome, change, check, wait
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.reinstall import Remains
from tasks.reinstall_again import LOCKSPACES_GONE, require_as_approved
from tasks.reinstall_archive import Archive
from tasks.reinstall_quiet import FINGERPRINT, fingerprint_of, require_no_ties
from tasks.reinstall_seen import Seen
from tasks.runs import log
from tasks.steps import claimed, run_once

PROBE = "__DIRECT_IO_TEST__"  # written by VDSM beside the domains, to see whether I/O is direct
LISTED_MOST = 60

READ_DOMAIN = r"""
LC_ALL=C; export LC_ALL
find "$1" -maxdepth 3 -type d -name "$2" | while IFS= read -r d; do
  parent=${d%/*}
  printf 'domain\t%s\n' "$d"
  printf 'mount\t%s\t%s\n' "$parent" "$(findmnt -rno SOURCE --mountpoint "$parent")"
  ls -A -- "$parent" | sed 's/^/beside	/'
  find "$d" -printf 'entry\t%s\t%P\n'
done
"""
# Compared once more where nothing comes between it and the removal. What has been half removed is
# not as it was watched: the rest is for a new run, which watches it anew.
REMOVE_DOMAIN = rf"""{FINGERPRINT}
d=$1 parent=$2 name=$3 source=$4 probe=$5 watched=$6
[ "$d" = "$parent/$name" ] && [ -n "$name" ] && [ -d "$d" ] && [ ! -L "$d" ] ||
  {{ echo "$d is not the directory that was approved" >&2; exit 66; }}
[ "$(findmnt -rno SOURCE --mountpoint "$parent")" = "$source" ] ||
  {{ echo "$parent is no longer the mount of $source" >&2; exit 65; }}
others=$(ls -A -- "$parent" | grep -vxF -e "$name" -e "$probe")
[ -z "$others" ] || {{ echo "beside $d there is: $others" >&2; exit 65; }}
now=$(fingerprint "$d") || {{ echo "$d cannot be read whole" >&2; exit 65; }}
[ "$now" = "$watched" ] || {{ echo "$d has changed since it was watched" >&2; exit 65; }}
rm -r --one-file-system -- "$d" && sync
"""
LIST = 'ls -A -- "$1"'


@dataclass(frozen=True, slots=True)
class Purge:
    """The directory that is to be removed; none if the storage is to be left alone."""

    directory: str = ""
    mount: str = ""
    source: str = ""
    storage_domain: str = ""
    size_bytes: int = 0
    entries: tuple[str, ...] = ()  # the first of them
    count: int = 0
    asked_hosts: tuple[str, ...] = ()

    @property
    def wanted(self) -> bool:
        """Whether anything is to be removed."""
        return bool(self.directory)


@check
def require_purgeable(remains: Remains, seen: Seen, purge_storage: bool) -> Purge:
    """Require that only the failed installation uses its storage. Raises CheckRefused."""
    if not purge_storage:
        return Purge()
    return _purgeable(remains, seen)


def foretold_quiet(_remains: Remains, purge: Purge, _fingerprint: str = "") -> str:
    """Return what a plan goes on with."""
    return "FINGERPRINT-OF-STORAGE" if purge.wanted else ""


@wait(foretold=foretold_quiet)
def wait_until_storage_quiet(remains: Remains, purge: Purge) -> str:
    """Watch the storage for as long as a user of it could be silent; returns its fingerprint.

    Raises CheckRefused when somebody writes, or when not all of it can be read.
    """
    if not purge.wanted:
        return ""
    before = fingerprint_of(remains, purge.directory)
    quiet_seconds = limit("quiet_seconds")
    log().info("watching %s for %.0f s", purge.directory, quiet_seconds)
    world().clock.sleep(quiet_seconds)
    after = fingerprint_of(remains, purge.directory)
    if before != after:
        raise CheckRefused(
            f"somebody writes below {purge.directory}, and {remains.host} does not",
            "find out who uses that storage; it was left alone",
        )
    return after


@check(foretold=foretold_quiet)
def require_still_purgeable(remains: Remains, purge: Purge, fingerprint: str) -> str:
    """Require that the storage is as it was approved. Raises CheckRefused."""
    if not purge.wanted:
        return ""
    require_no_ties(remains, purge.source, purge.mount)
    found = fingerprint_of(remains, purge.directory)
    if found != fingerprint:
        raise CheckRefused(
            f"{purge.directory} has changed since it was watched", "find out who wrote"
        )
    return found


@change
def remove_storage_domain(
    remains: Remains, archive: Archive, purge: Purge, fingerprint: str
) -> Outcome | None:
    """Remove the one directory that was approved, as it was watched. Raises CheckRefused."""
    if not purge.wanted:
        return None
    step = "remove_storage_domain"
    shell = world().shell(remains.cluster, remains.host)
    listing = sh(LIST, purge.mount)
    if not begun(remains.host, step) and purge.storage_domain not in _names(shell.run(listing)):
        return Outcome.ALREADY
    place = (purge.directory, purge.mount, purge.storage_domain, purge.source, PROBE)
    require_as_approved(remains, archive, step, LOCKSPACES_GONE)
    if planning() is None and not claimed(shell, step=step):
        require_no_ties(remains, purge.source, purge.mount)
    argv = sh(REMOVE_DOMAIN, *place, fingerprint)
    run_once(shell, argv, step=step, timeout_seconds=limit("purge_seconds"))
    if purge.storage_domain in _names(shell.run(listing)):
        raise CheckRefused(f"{purge.directory} is still there", "look at it by hand")
    return Outcome.CHANGED


def _purgeable(remains: Remains, seen: Seen) -> Purge:
    claims = remains.claims
    domain = claims.storage_domain
    if not domain:
        raise CheckRefused(
            "neither hosted-engine.conf nor the answers name a storage domain, so none is known to"
            " be the failed installation's",
            f"look below {MOUNTS} yourself, or run this without purge_storage",
        )
    if claims.domain_type in BLOCK_DOMAINS:
        raise CheckRefused(
            f"the storage domain is on block storage ({claims.domain_type})",
            "wipe the LUN where it is served, and run this without purge_storage",
        )
    for board in seen.whiteboards:
        others = [
            name for name, n in zip(board.names, board.ids, strict=True) if n != claims.host_id
        ]
        if board.storage_domain == domain and others:
            raise CheckRefused(
                f"other hosts have published on {board.path}: {', '.join(others)}",
                "the storage belongs to a cluster, even if it is down: run this without"
                " purge_storage",
            )
    purge = _found(remains, domain)
    return replace(purge, asked_hosts=require_no_ties(remains, purge.source, purge.mount))


def _found(remains: Remains, domain: str) -> Purge:
    shell = world().shell(remains.cluster, remains.host)
    ran = shell.run(sh(READ_DOMAIN, MOUNTS, domain), timeout_seconds=limit("look_seconds"))
    told = [line.split("\t") for line in ran.checked().stdout.splitlines()]
    directories = [line[1] for line in told if line[0] == "domain"]
    if len(directories) != 1:
        raise CheckRefused(
            f"{remains.host}: storage domain {domain} is {len(directories)} times below {MOUNTS}",
            "mount its storage once (hosted-engine --connect-storage), or run this without"
            " purge_storage",
        )
    mount, source = next(line[1:] for line in told if line[0] == "mount")
    beside = {line[1] for line in told if line[0] == "beside"} - {domain, PROBE}
    if not source or beside:
        what = f"holds more than the failed storage domain: {', '.join(sorted(beside))}"
        raise CheckRefused(
            f"{mount} {what if beside else 'is not a mount of its own'}",
            "remove the storage domain where it is served, by hand",
        )
    named = remains.claims.storage.rstrip("/")
    # As VDSM names the directory of a mount: each _ doubled, then each / an _.
    if basename(mount) != named.replace("_", "__").replace("/", "_"):
        raise CheckRefused(
            f"{remains.claims.source} names {named or 'no storage'}, the storage domain is on"
            f" {source}, mounted at {mount}",
            "find out which is right before anything is removed",
        )
    entries = [(int(line[1]), line[2]) for line in told if line[0] == "entry"]
    size_bytes = sum(size for size, _ in entries)
    listed = tuple(f"{size} {name or '.'}" for size, name in entries[:LISTED_MOST])
    return Purge(directories[0], mount, source, domain, size_bytes, listed, len(entries))


def _names(ran: Ran) -> list[str]:
    return ran.checked().stdout.splitlines()
