"""The destructive step: initialise the lockspace; and what proves that it is right.

`sanlock direct init` does it, not `hosted-engine --reinitialize-lockspace`: that needs a running
broker, which is what must not run; upstream's ends with exit code 0 when the broker failed to
write, and one garbage block on the whiteboard makes it skip all of its checks. `direct init` asks
no daemon and writes what upstream's broker would (name, offset 0, alignment of 1 MiB).
"""

from shlex import quote

from tasks.backup import Backup, digest_or_none, foretell_backup, make_backup
from tasks.hosts import sh
from tasks.limits import limit
from tasks.lockspace import (
    Diagnosis,
    Lockspace,
    area_of,
    diagnosis_of,
    read_slots,
    say_diagnosis,
)
from tasks.lockspace_area import ALIGN_BYTES, MAX_HOSTS, Slot, faults, held, ranges
from tasks.lockspace_leave import now_id, require_still_out, still_joined
from tasks.lockspace_sanlock import NAME
from tasks.metadata import find_target
from tasks.powered_off import require_still_silent
from tasks.recorded import Outcome, change, check, look, wait
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.runs import log
from tasks.steps import claimed, run_once
from tasks.waiting import wait_until

STEP = "initialise_lockspace"
EVERY_SECONDS = 3.0
# What was approved is compared where nothing comes between it and the write, and this host's own
# daemon is asked: a step may be started long after it was prepared. sanlock before 3.7 knows only
# sectors of 512 bytes and no -Z. The rest of the area is told apart from a short write by its size.
INITIALISE = r"""
[ -f "$1" ] || [ -b "$1" ] || { echo "$1 is not there" >&2; exit 66; }
now=$(dd if="$1" bs="$3" count="$4" iflag=direct,fullblock | sha256sum)
[ "${now%% *}" = "$2" ] || { echo "$1 has changed since the approval" >&2; exit 65; }
if sanlock client status | grep -q '^s hosted-engine:'; then
  echo "sanlock is in the lockspace" >&2; exit 67
fi
path=$(printf %s "$1" | sed 's/:/\\:/g'); sector=$5
set --; if sanlock help 2>&1 | grep -q -- '-Z 512'; then set -- -Z "$sector" -A 1M; fi
sanlock direct init -s "hosted-engine:0:$path:0" "$@"
"""


class LockspaceWrong(Exception):
    """The lockspace is not what the write should have made of it; raised by prove_lockspace."""


def init_command(path: str, sector_bytes: int) -> str:
    """Return the command that initialises the lockspace, for a person to read."""
    escaped = path.replace(":", "\\:")
    space = quote(f"{NAME}:0:{escaped}:0")
    return f"sanlock direct init -s {space} -Z {sector_bytes} -A 1M"


def foretell_copy(site: Site, lockspace: Lockspace, directory: str) -> Backup:
    """Return the backup that a plan goes on with."""
    return foretell_backup(site.at(lockspace.target), directory)


@change(foretold=foretell_copy)
def back_up_lockspace(site: Site, lockspace: Lockspace, directory: str) -> Backup:
    """Copy the area to the acting host, verify the copy from two hosts, and keep one here.

    Raises ChecksumDiffers, ReadFailed.
    """
    return make_backup(site.at(lockspace.target), directory, "back_up_lockspace")


@look(foretold=lambda site, found: found)
def read_diagnosis(site: Site, found: Diagnosis) -> Diagnosis:
    """Judge the quiet lockspace once more: this is what the approval is given on."""
    lockspace = found.lockspace
    slots = read_slots(site, lockspace, found.sector_bytes)
    now = diagnosis_of(site.cluster, lockspace, slots, found.sector_bytes)
    say_diagnosis(site.cluster, now)
    return now


@check
def require_lockspace_unchanged(site: Site, lockspace: Lockspace, backup: Backup) -> str:
    """Require that all is as it was approved. Raises CheckRefused."""
    now = area_of(find_target(site.cluster, lockspace.volume, limit("look_seconds")))
    if now != lockspace.target:
        raise CheckRefused(f"the lockspace is now {now}, approved was {lockspace.target}", "look")
    joined = still_joined(site, lockspace)
    if joined is not None:
        raise CheckRefused(joined, "stop agents and brokers on all hosts and run this again")
    require_still_silent(site.cluster)
    area = site.at(lockspace.target)
    on_storage = area.digest(site.witness, lockspace.target.path)
    in_backup = digest_or_none(area, backup.path)
    if not on_storage == in_backup == backup.sha256:
        raise CheckRefused(
            f"approved was checksum {backup.sha256}; the lockspace has {on_storage}, the backup "
            f"{in_backup}",
            "find out who wrote, then run this again",
        )
    return on_storage


@change
def initialise_lockspace(site: Site, found: Diagnosis, backup: Backup) -> Outcome:
    """Write an empty lockspace, exactly once. Its proof is prove_lockspace. Raises CheckRefused."""
    lockspace, target = found.lockspace, found.lockspace.target
    slots = read_slots(site, lockspace, found.sector_bytes)
    if not begun(site.actor, STEP) and not faults(slots) and not held(slots):
        return Outcome.ALREADY
    require_still_out(site, lockspace, STEP)
    if not claimed(site.shell(site.actor), step=STEP):
        require_still_silent(site.cluster)
    count = target.size_bytes // ALIGN_BYTES
    numbers = (str(ALIGN_BYTES), str(count), str(found.sector_bytes))
    run_once(
        site.shell(site.actor),
        sh(INITIALISE, target.path, backup.sha256, *numbers),
        step=STEP,
        timeout_seconds=limit("write_seconds"),
    )
    return Outcome.CHANGED


@wait
def prove_lockspace(site: Site, found: Diagnosis, backup: Backup) -> str:
    """Prove from another host: every slot is free and ours, and what follows is as it was.

    Returns the area's checksum. Raises LockspaceWrong.
    """
    lockspace, target, witness = found.lockspace, found.lockspace.target, site.witness
    slots = read_slots(site, lockspace, found.sector_bytes)
    wrong = {what: ranges(ids) for what, ids in faults(slots).items()}
    if wrong or held(slots) or len(slots) != MAX_HOSTS[found.sector_bytes]:
        raise LockspaceWrong(
            f"{witness} sees {len(slots)} slots, wrong ones {wrong or 'none'}, held ones "
            f"{ranges(list(held(slots))) or 'none'} in {target.path}; the backup is "
            f"{backup.host}:{backup.path}"
        )
    now = diagnosis_of(site.cluster, lockspace, slots, found.sector_bytes)
    unread = [f"{each.host}: {each.leader}" for each in now.hosts if each.leader != "0"]
    if unread:
        raise LockspaceWrong(f"sanlock cannot read its slot: {', '.join(unread)}")
    area = site.at(target)
    if target.size_bytes > ALIGN_BYTES:
        after = area.digest(witness, target.path, ALIGN_BYTES)
        if after != area.digest(site.actor, backup.path, ALIGN_BYTES):
            raise LockspaceWrong(f"{witness} sees other bytes after the first MiB of {target.path}")
    return area.digest(witness, target.path)


@wait
def wait_until_ids_held(site: Site, found: Diagnosis) -> dict[int, str]:
    """Wait until another host sees each host hold its own id. Raises TimedOut."""
    wanted = {now_id(site, host): host for host in site.hosts}
    seen: dict[int, Slot] = {}

    def missing() -> str | None:
        slots = read_slots(site, found.lockspace, found.sector_bytes)
        seen.update(held(slots))
        absent = [host for host_id, host in wanted.items() if host_id not in held(slots)]
        return f"{', '.join(absent)} holds no host id yet" if absent else None

    wait_until(
        "all host ids held",
        missing,
        timeout_seconds=limit("live_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return {host_id: seen[host_id].owner for host_id in wanted}
