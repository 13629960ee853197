"""Copy the whole volume to the host that acts, and write such a copy back."""

from dataclasses import dataclass
from posixpath import basename
from shlex import quote

from tasks.env import world
from tasks.hosts import host_names, sh
from tasks.journal import Kind, Phase, UnknownRun
from tasks.limits import limit
from tasks.metadata import Target
from tasks.recorded import Outcome, Recorded, change, check, look, wait
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.report import show
from tasks.run_site import Site
from tasks.runs import current_run
from tasks.services import require_still_stopped, still_running
from tasks.steps import run_once
from tasks.whiteboard_table import bad_ids, block_rows
from tasks.witnesses import ReadFailed, shape_of

COPY = """
umask 077
mkdir -p -- "$(dirname -- "$2")" || exit
dd if="$1" of="$2" bs="$3" count="$4" iflag=direct conv=fsync || { rm -f -- "$2"; exit 1; }
"""

# nocreat and the test before it: a path that is not there must never become a new file.
RESTORE = """
[ -f "$2" ] || [ -b "$2" ] || { echo "$2 is not there" >&2; exit 66; }
now=$(dd if="$1" bs="$3" count="$4" iflag=direct,fullblock | sha256sum)
[ "${now%% *}" = "$5" ] || { echo "$1 is not the backup that was approved" >&2; exit 65; }
dd if="$1" of="$2" bs="$3" count="$4" iflag=fullblock oflag=direct conv=notrunc,nocreat,fsync
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


def restore_command(backup: Backup) -> str:
    """Return the command that writes a backup back, for a person to read."""
    shape = shape_of(backup.size_bytes)
    return (
        f"dd {quote(f'if={backup.path}')} {quote(f'of={backup.target}')}"
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
    return Backup(site.actor, path, target.path, target.size_bytes, wanted)


@check
def require_backup_record(cluster: str, run_id: str) -> Backup:
    """Require that a run's backup is in the journal; returns it. Raises CheckRefused."""
    return recorded_backup(cluster, run_id, back_up_whiteboard)


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


@check
def require_restorable(cluster: str, target: Target, backup: Backup) -> Site:
    """Require that path and size are the backup's and its checksum holds.

    Returns the place, with the backup's host as the one that acts. Raises CheckRefused.
    """
    site = site_of(cluster, target, backup)
    restorable(site, backup)
    return site


def site_of(cluster: str, target: Target, backup: Backup) -> Site:
    """Return the site in which the backup's host acts. Raises CheckRefused."""
    names = host_names(cluster)
    if backup.host not in names:
        raise CheckRefused(
            f"the backup is on {backup.host}, which is not in the inventory", "add it again"
        )
    others = tuple(name for name in names if name != backup.host)
    return Site(cluster, target, backup.host, others[0] if others else backup.host, others)


@check
def require_still_restorable(site: Site, backup: Backup) -> str:
    """Require the same once more, and that nobody writes. Raises CheckRefused."""
    missing = still_running(site)
    if missing is not None:
        raise CheckRefused(missing, "stop agents and brokers on all hosts and run this again")
    return restorable(site, backup)


@change
def restore_backup(site: Site, backup: Backup) -> Outcome:
    """Write the backup over the whole volume, exactly once. Raises CheckRefused."""
    return written_back(site, backup, "restore_backup")


def written_back(site: Site, backup: Backup, step: str) -> Outcome:
    """Write a backup over the site's volume, exactly once, while all is stopped.

    Raises CheckRefused.
    """
    target = site.target
    done = site.digest(site.witness, target.path) == backup.sha256
    if done and not begun(backup.host, step):
        return Outcome.ALREADY
    require_still_stopped(site, step)
    shape = shape_of(backup.size_bytes)
    numbers = (str(shape.block_bytes), str(shape.count))
    run_once(
        site.shell(backup.host),
        sh(RESTORE, backup.path, target.path, *numbers, backup.sha256),
        step=step,
        timeout_seconds=limit("write_seconds"),
    )
    return Outcome.CHANGED


@look
def read_next_steps(site: Site) -> tuple[str, ...]:
    """Say what to do after a restore: everything is still stopped."""
    bad = ", ".join(map(str, bad_ids(block_rows(site.read(site.witness)))))
    lines = (
        f"The whiteboard is as it was before the write; bad blocks: {bad or 'none'}.",
        f"Agents and brokers are stopped on {', '.join(site.hosts)}: HA is off, the engine VM is "
        "left alone.",
        "To repair it after all: start the services on one host, then run metadata-too-new.",
        "To go back to work as it is, on every host: systemctl start ovirt-ha-broker && "
        "systemctl start ovirt-ha-agent",
        "Then, when all hosts are seen in GlobalMaintenance: hosted-engine --set-maintenance "
        "--mode=none",
    )
    show("next-steps", "\n".join(f"- {line}" for line in lines), f"What next: {site.cluster}")
    return lines


@wait
def prove_restored(site: Site, backup: Backup) -> str:
    """Prove from another host that the volume equals the backup. Raises ChecksumDiffers."""
    found = site.digest(site.witness, site.target.path)
    if found != backup.sha256:
        raise ChecksumDiffers(
            f"{site.target.path} seen from {site.witness} has {found}, the backup {backup.sha256}"
        )
    return found


def restorable(site: Site, backup: Backup) -> str:
    """Return the backup's checksum, after path, size and bytes are found right.

    Raises CheckRefused.
    """
    target = site.target
    if (target.path, target.size_bytes) != (backup.target, backup.size_bytes):
        raise CheckRefused(
            f"the backup is of {backup.target} ({backup.size_bytes} bytes), the volume is "
            f"{target.path} ({target.size_bytes} bytes)",
            "do not restore: it is another volume",
        )
    found = digest_or_none(site, backup.path)
    if found != backup.sha256:
        raise CheckRefused(
            f"{backup.host}:{backup.path} has checksum {found or 'none'}, recorded was "
            f"{backup.sha256}",
            "do not restore it: the backup is damaged or gone",
        )
    return found


def digest_or_none(site: Site, path: str) -> str | None:
    """Return the SHA-256 of a file on the acting host, None when it is not there or too short."""
    try:
        return site.digest(site.actor, path)
    except ReadFailed:
        return None
