"""The destructive step: zero blocks of the whiteboard; and what proves that it is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from shlex import quote

from ha.core.record import RANGE_BYTES
from tasks import lease
from tasks.backup import Backup
from tasks.checks import find_again
from tasks.hosts import sh
from tasks.limits import limit
from tasks.maintenance import DEADLINE_SECONDS
from tasks.metadata import Volume
from tasks.recorded import Outcome, change, check, wait
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.runs import current_run
from tasks.services import require_still_stopped, still_running
from tasks.steps import run_once
from tasks.witnesses import (
    digest_of_zeros,
    maintenance_flag,
    range_blocks,
    shape_of,
    wrongly_written,
)

# nocreat and the test before it: a path that is not there must never become a new file, as the
# Howto's misspelt one would. A count always: on a file domain dd does not end by itself.
# What was approved is compared once more where nothing comes between it and the write: a step may
# be started long after it was prepared, when its run is continued or retried.
AS_APPROVED = """
t=$1 approved=$2 bs=$3 count=$4; shift 4
[ -f "$t" ] || [ -b "$t" ] || { echo "$t is not there" >&2; exit 66; }
now=$(dd if="$t" bs="$bs" count="$count" iflag=direct,fullblock | sha256sum)
[ "${now%% *}" = "$approved" ] || { echo "$t has changed since the approval" >&2; exit 65; }
"""
ZERO_BLOCKS = f"""{AS_APPROVED}
for n in "$@"; do
  dd if=/dev/zero of="$t" bs=4096 seek="$n" count=1 oflag=direct conv=notrunc,nocreat,fsync || exit
done
"""
ZERO_ALL = f"""{AS_APPROVED}
dd if=/dev/zero of="$t" bs="$bs" count="$count" oflag=direct conv=notrunc,nocreat,fsync
"""
# conv=sync pads the text with NULs to one whole block.
SET_FLAG = """
[ -f "$1" ] || [ -b "$1" ] || { echo "$1 is not there" >&2; exit 66; }
printf 'maintenance=1' |
  dd of="$1" bs=4096 count=1 oflag=direct conv=sync,notrunc,nocreat,fsync
"""


def flag_command(path: str) -> str:
    """Return the command that writes the maintenance flag raw, for a person to read."""
    end = "bs=4096 count=1 oflag=direct conv=sync,notrunc,nocreat,fsync"
    return f"printf maintenance=1 | dd {quote(f'of={path}')} {end}"


class Scope(StrEnum):
    """What is zeroed."""

    BAD_ONLY = "bad blocks only"
    EVERYTHING = "everything, as the Howto says"


class WriteWrong(Exception):
    """The volume is not what the write should have made of it; raised by prove_write."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be zeroed, as it was approved."""

    scope: Scope
    host_ids: tuple[int, ...]
    sha256: str = ""  # of the whole volume at the approval

    def commands(self, path: str, size_bytes: int) -> tuple[str, ...]:
        """Return the exact commands, for a person to read."""
        end = "oflag=direct conv=notrunc,nocreat,fsync"
        out = quote(f"of={path}")
        if self.scope is Scope.EVERYTHING:
            shape = shape_of(size_bytes)
            return (f"dd if=/dev/zero {out} bs={shape.block_bytes} count={shape.count} {end}",)
        return tuple(f"dd if=/dev/zero {out} bs=4096 seek={n} count=1 {end}" for n in self.host_ids)


@check
def require_unchanged(site: Site, volume: Volume, backup: Backup) -> str:
    """Require that all is as it was approved. Raises CheckRefused."""
    now = find_again(site, volume)
    if now != site.target:
        raise CheckRefused(f"the whiteboard is now {now}, approved was {site.target}", "look at it")
    # Nobody wrote since the backup, or the checksum would differ: no need to wait in silence again.
    missing = still_running(site)
    if missing is not None:
        raise CheckRefused(missing, "stop agents and brokers on all hosts and run this again")
    on_storage = site.digest(site.witness, site.target.path)
    in_backup = site.digest(site.actor, backup.path)
    if not on_storage == in_backup == backup.sha256:
        raise CheckRefused(
            f"approved was checksum {backup.sha256}; the volume has {on_storage}, the backup "
            f"{in_backup}",
            "find out who wrote, then run this again",
        )
    return on_storage


@change
def write_zeros(site: Site, plan: Plan) -> Outcome:
    """Zero what was approved, exactly once. Its proof is prove_write. Raises CheckRefused."""
    target = site.target
    if not begun(site.actor, "write_zeros") and _is_zero(site, plan):
        return Outcome.ALREADY
    require_still_stopped(site, "write_zeros")
    shape = shape_of(target.size_bytes)
    approved = (target.path, plan.sha256, str(shape.block_bytes), str(shape.count))
    if plan.scope is Scope.EVERYTHING:
        argv = sh(ZERO_ALL, *approved)
    else:
        argv = sh(ZERO_BLOCKS, *approved, *map(str, plan.host_ids))
    run_once(
        site.shell(site.actor),
        argv,
        step="write_zeros",
        timeout_seconds=limit("write_seconds"),
    )
    return Outcome.CHANGED


@wait
def prove_write(site: Site, plan: Plan, backup: Backup) -> str:
    """Prove from another host: zero what should be, the rest as in the backup.

    Returns the volume's checksum. Raises WriteWrong.
    """
    size_bytes = site.target.size_bytes
    before = site.read_file(site.actor, backup.path)
    after = site.read(site.witness)
    everything = plan.scope is Scope.EVERYTHING
    zeroed: Sequence[int] = range(range_blocks(size_bytes)) if everything else plan.host_ids
    wrong = wrongly_written(before, after, zeroed)
    if wrong:
        raise WriteWrong(
            f"{site.witness} sees the wrong bytes in block {', '.join(map(str, wrong))} of "
            f"{site.target.path}; the backup is {backup.host}:{backup.path}"
        )
    if size_bytes > RANGE_BYTES:
        found = site.digest(site.witness, site.target.path, RANGE_BYTES)
        wanted = (
            digest_of_zeros(size_bytes - RANGE_BYTES)
            if everything
            else site.digest(site.actor, backup.path, RANGE_BYTES)
        )
        if found != wanted:
            raise WriteWrong(
                f"{site.witness} sees other bytes after block {RANGE_BYTES // 4096 - 1} of "
                f"{site.target.path}; the backup is {backup.host}:{backup.path}"
            )
    return site.digest(site.witness, site.target.path)


@change
def write_maintenance_flag(site: Site) -> Outcome:
    """Write maintenance=1 to block 0 and see it from another host, before any agent starts.

    Zeroing block 0 ends global maintenance: the agents would start the engine VM by themselves.
    Raises WriteWrong.
    """
    step = "write_maintenance_flag"
    if not begun(site.actor, step) and maintenance_flag(site.read(site.witness)):
        return Outcome.ALREADY
    require_still_stopped(site, step)
    run_once(
        site.shell(site.actor),
        sh(SET_FLAG, site.target.path),
        step=step,
        timeout_seconds=limit("look_seconds"),
    )
    if not maintenance_flag(site.read(site.witness)):
        raise WriteWrong(f"{site.witness} does not see maintenance=1 in block 0")
    run = current_run()
    lease.take(f"runbook {run.runbook}" if run else "", DEADLINE_SECONDS)
    return Outcome.CHANGED


def _is_zero(site: Site, plan: Plan) -> bool:
    if plan.scope is Scope.EVERYTHING:
        found = site.digest(site.witness, site.target.path)
        return found == digest_of_zeros(site.target.size_bytes)
    data = site.read(site.witness)
    return not wrongly_written(data, data, plan.host_ids)
