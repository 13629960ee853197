"""Write a run's backup back, from the host that made it or from the control node's copy."""

from dataclasses import replace
from posixpath import splitext

from tasks.backup import (
    Backup,
    ChecksumDiffers,
    back_up_whiteboard,
    digest_or_none,
    recorded_backup,
)
from tasks.backup_copy import CopyUnusable, range_bytes, read_copy, send_copy, unpack
from tasks.hosts import host_names, sh
from tasks.limits import limit
from tasks.metadata import Target
from tasks.next_steps import say_next_steps
from tasks.plan import planning
from tasks.powered_off import require_still_silent
from tasks.recorded import Outcome, change, check, look, wait
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.services import require_still_stopped, still_running
from tasks.steps import run_once
from tasks.whiteboard_table import bad_ids, block_rows
from tasks.witnesses import shape_of

# nocreat and the test before it: a path that is not there must never become a new file.
RESTORE = """
[ -f "$2" ] || [ -b "$2" ] || { echo "$2 is not there" >&2; exit 66; }
now=$(dd if="$1" bs="$3" count="$4" iflag=direct,fullblock | sha256sum)
[ "${now%% *}" = "$5" ] || { echo "$1 is not the backup that was approved" >&2; exit 65; }
dd if="$1" of="$2" bs="$3" count="$4" iflag=fullblock oflag=direct conv=notrunc,nocreat,fsync
"""


@check
def require_backup_record(cluster: str, run_id: str) -> Backup:
    """Require that a run's backup is in the journal; returns it. Raises CheckRefused."""
    return recorded_backup(cluster, run_id, back_up_whiteboard)


@check
def require_restorable(cluster: str, target: Target, backup: Backup) -> Site:
    """Require that the volume is the backup's, and that the backup or its copy is whole.

    Returns the place, with the backup's host as the one that acts. Raises CheckRefused.
    """
    return restore_site(cluster, target, target, backup)


def restore_site(cluster: str, target: Target, volume: Target, backup: Backup) -> Site:
    """Return the site in which a backup of a volume can be written back.

    Raises CheckRefused.
    """
    if (volume.path, volume.size_bytes) != (backup.target, backup.size_bytes):
        raise CheckRefused(
            f"the backup is of {backup.target} ({backup.size_bytes} bytes), the volume is "
            f"{volume.path} ({volume.size_bytes} bytes)",
            "do not restore: it is another volume",
        )
    names = host_names(cluster)
    actor = backup.host if backup.host in names else names[0]
    others = tuple(name for name in names if name != actor)
    site = Site(cluster, target, actor, others[0] if others else actor, others)
    found = digest_or_none(site.at(volume), backup.path) if actor == backup.host else None
    if found != backup.sha256:
        _require_copy(backup, found)
    return site


def from_copy(site: Site, backup: Backup) -> Backup:
    """Return what a backup is when it comes from the control node's copy."""
    path = f"{splitext(backup.path)[0]}.range.img"
    size_bytes = range_bytes(backup.size_bytes)
    return replace(
        backup, host=site.actor, path=path, size_bytes=size_bytes, sha256=backup.copy_sha256
    )


@change(foretold=from_copy)
def fetch_backup(site: Site, backup: Backup) -> Backup:
    """Bring the control node's copy to the host that acts, if the backup there is not whole.

    Returns the backup to be written: the copy has only the blocks that hosted engine reads.
    Raises ChecksumDiffers.
    """
    if backup.host == site.actor and digest_or_none(of_size(site, backup), backup.path) == (
        backup.sha256
    ):
        return backup
    step, fetched = "fetch_backup", from_copy(site, backup)
    shell = site.shell(site.actor)
    data = read_copy(backup.copy, backup.copy_sha256)
    if planning() is None:
        send_copy(shell, data, fetched.path)
    unpack(shell, data, fetched.path, step=step)
    found = digest_or_none(of_size(site, fetched), fetched.path)
    if found != fetched.sha256:
        raise ChecksumDiffers(
            f"{site.actor}:{fetched.path} has {found}, the control node's copy {fetched.sha256}"
        )
    return fetched


def of_size(site: Site, backup: Backup) -> Site:
    """Return the site over the part of its volume that a backup has."""
    return site.at(replace(site.target, path=backup.target, size_bytes=backup.size_bytes))


@check
def require_still_restorable(site: Site, backup: Backup, kept: Backup) -> str:
    """Require the same once more, and that nobody writes. Raises CheckRefused."""
    missing = still_running(site)
    if missing is not None:
        raise CheckRefused(missing, "stop agents and brokers on all hosts and run this again")
    return require_whole(site, backup, kept)


def require_whole(site: Site, backup: Backup, kept: Backup) -> str:
    """Return the backup's checksum if it is still right, and if what it overwrites was kept.

    Raises CheckRefused.
    """
    require_still_silent(site.cluster)
    there = of_size(site, kept).digest(site.witness, kept.target)
    if there != kept.sha256:
        raise CheckRefused(
            f"{kept.target} has checksum {there}, what was backed up of it before the approval "
            f"{kept.sha256}",
            "find out who wrote, then run this again",
        )
    found = digest_or_none(of_size(site, backup), backup.path)
    if found != backup.sha256:
        raise CheckRefused(_damaged(backup, found), "do not restore it")
    return found


@change
def restore_backup(site: Site, backup: Backup) -> Outcome:
    """Write the backup over the volume, exactly once. Raises CheckRefused."""
    return written_back(site, backup, "restore_backup")


def written_back(site: Site, backup: Backup, step: str) -> Outcome:
    """Write a backup over its volume, exactly once, while all is stopped.

    Raises CheckRefused.
    """
    done = of_size(site, backup).digest(site.witness, backup.target) == backup.sha256
    if done and not begun(backup.host, step):
        return Outcome.ALREADY
    require_still_stopped(site, step)
    shape = shape_of(backup.size_bytes)
    numbers = (str(shape.block_bytes), str(shape.count))
    run_once(
        site.shell(backup.host),
        sh(RESTORE, backup.path, backup.target, *numbers, backup.sha256),
        step=step,
        timeout_seconds=limit("write_seconds"),
    )
    return Outcome.CHANGED


@wait
def prove_restored(site: Site, backup: Backup) -> str:
    """Prove from another host that the volume equals the backup. Raises ChecksumDiffers."""
    return proved_restored(site, backup)


def proved_restored(site: Site, backup: Backup) -> str:
    """Return the checksum that a backup and its volume share. Raises ChecksumDiffers."""
    found = of_size(site, backup).digest(site.witness, backup.target)
    if found != backup.sha256:
        raise ChecksumDiffers(
            f"{backup.target} seen from {site.witness} has {found}, the backup {backup.sha256}"
        )
    return found


@look
def read_next_steps(site: Site) -> tuple[str, ...]:
    """Say what to do after a restore: everything is still stopped."""
    bad = ", ".join(map(str, bad_ids(block_rows(site.read(site.witness)))))
    return say_next_steps(
        site,
        f"The whiteboard is as it was before the write; bad blocks: {bad or 'none'}.",
        "start the services on one host, then run metadata-too-new",
    )


def _require_copy(backup: Backup, found: str | None) -> None:
    try:
        read_copy(backup.copy, backup.copy_sha256)
    except CopyUnusable as error:
        raise CheckRefused(
            f"{_damaged(backup, found)}; {error}",
            "do not restore it: the backup is damaged or gone",
        ) from error


def _damaged(backup: Backup, found: str | None) -> str:
    return (
        f"{backup.host}:{backup.path} has checksum {found or 'none'}, recorded was {backup.sha256}"
    )
