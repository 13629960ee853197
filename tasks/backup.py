"""Copy the whole volume to the host that acts, and its blocks to the control node."""

from dataclasses import dataclass
from posixpath import basename
from shlex import quote

from tasks.backup_copy import keep_copy
from tasks.checksums import whole_command
from tasks.env import world
from tasks.hosts import sh
from tasks.journal import Kind, Phase, UnknownRun
from tasks.limits import limit
from tasks.recorded import Recorded, change
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.runs import current_run
from tasks.steps import run_once
from tasks.witnesses import ReadFailed, shape_of

COPY = """
umask 077
mkdir -p -- "$(dirname -- "$2")" || exit
dd if="$1" of="$2" bs="$3" count="$4" iflag=direct conv=fsync || { rm -f -- "$2"; exit 1; }
"""


class ChecksumDiffers(Exception):
    """Two copies that must be equal are not; raised by back_up_whiteboard and prove_restored."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A verified copy of the volume."""

    host: str
    path: str
    target: str
    size_bytes: int
    sha256: str
    copy: str = ""  # on the control node, of the range that hosted engine reads
    copy_sha256: str = ""


def backup_lines(backup: Backup) -> list[str]:
    """Return where a backup is, for a person to read."""
    lines = [
        f"- backup: **{backup.host}:{backup.path}** ({backup.size_bytes} bytes)",
        f"- SHA-256 of what is overwritten and of the backup: `{backup.sha256}`",
    ]
    if backup.copy:
        lines.append(f"- its blocks once more, compressed, on the control node: {backup.copy}")
    return lines


def restored_lines(backup: Backup, kept: Backup) -> list[str]:
    """Return what is written back, and where what it overwrites is, for a person to read."""
    return [
        f"- written back: **{backup.host}:{backup.path}** ({backup.size_bytes} bytes), "
        f"SHA-256 `{backup.sha256}`",
        f"- what is there now is kept: **{kept.host}:{kept.path}** ({kept.size_bytes} bytes), "
        f"SHA-256 `{kept.sha256}`",
        *(["- **both are the same**: there is nothing to write"] if _same(backup, kept) else []),
    ]


def _same(backup: Backup, kept: Backup) -> bool:
    return (backup.size_bytes, backup.sha256) == (kept.size_bytes, kept.sha256)


def restore_command(backup: Backup) -> str:
    """Return the command that writes a backup back if it is whole, for a person to read."""
    shape = shape_of(backup.size_bytes)
    return (
        f"{whole_command(backup.path, backup.sha256)} &&"
        f" dd {quote(f'if={backup.path}')} {quote(f'of={backup.target}')}"
        f" bs={shape.block_bytes} count={shape.count} oflag=direct conv=notrunc,nocreat,fsync"
    )


def backup_path(site: Site, directory: str) -> str:
    """Return where the run in force keeps its backup of the site's volume."""
    run = current_run()
    return f"{directory}/{run.run_id if run else 'no-run'}/{basename(site.target.path)}.img"


def foretell_backup(site: Site, directory: str) -> Backup:
    """Return the backup that a plan goes on with: its checksum is not known before."""
    target, path = site.target, backup_path(site, directory)
    return Backup(site.actor, path, target.path, target.size_bytes, "SHA256-OF-BACKUP")


@change(foretold=foretell_backup)
def back_up_whiteboard(site: Site, directory: str) -> Backup:
    """Copy the volume to the acting host, verify the copy from two hosts, and keep one here.

    Raises ChecksumDiffers, ReadFailed.
    """
    return make_backup(site, directory, "back_up_whiteboard")


def make_backup(site: Site, directory: str, step: str) -> Backup:
    """Copy the site's volume to the acting host, verify it, and keep its blocks here, too.

    Raises ChecksumDiffers, ReadFailed.
    """
    target = site.target
    path = backup_path(site, directory)
    shape = shape_of(target.size_bytes)
    wanted = site.digest(site.witness, target.path)
    if begun(site.actor, step) or digest_or_none(site, path) != wanted:
        run_once(
            site.shell(site.actor),
            sh(COPY, target.path, path, str(shape.block_bytes), str(shape.count)),
            step=step,
            timeout_seconds=limit("backup_seconds"),
        )
    copied = site.digest(site.actor, path)
    if copied != wanted:
        raise ChecksumDiffers(
            f"{site.actor}:{path} has {copied}, {target.path} seen from {site.witness} {wanted}"
        )
    return Backup(site.actor, path, target.path, target.size_bytes, wanted, *keep_copy(site, path))


def recorded_backup(cluster: str, run_id: str, made_by: Recorded[..., Backup]) -> Backup:
    """Return the backup that a change of a run made, from the journal. Raises CheckRefused."""
    journal = world().journal
    try:
        run = journal.run(run_id)
    except UnknownRun as error:
        raise CheckRefused(str(error), "look it up with `runbook status`") from error
    if run.cluster != cluster:
        raise CheckRefused(f"run {run_id} was of cluster {run.cluster}", "name that cluster")
    found = journal.find(run_id, Kind.CHANGE, made_by.name, Phase.OUTCOME)
    if found is None:
        raise CheckRefused(
            f"run {run_id} made no backup, so it wrote nothing", "there is nothing to undo"
        )
    return made_by.adapter.validate_python(found.payload["value"])


def digest_or_none(site: Site, path: str) -> str | None:
    """Return the SHA-256 of a file on the acting host, None when it is not there or too short."""
    try:
        return site.digest(site.actor, path)
    except ReadFailed:
        return None
