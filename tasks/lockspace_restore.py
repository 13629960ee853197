"""Write a run's backup of the lockspace back, while no host is in it."""

from tasks.backup import Backup, recorded_backup
from tasks.lockspace import Lockspace
from tasks.lockspace_leave import require_still_out, still_joined
from tasks.lockspace_write import back_up_lockspace
from tasks.metadata import Target
from tasks.next_steps import say_next_steps
from tasks.recorded import Outcome, change, check, look, wait
from tasks.refusal import CheckRefused
from tasks.restore import proved_restored, require_whole, restore_site, written_back
from tasks.run_site import Site

STEP = "restore_lockspace_area"


@check
def require_lockspace_backup(cluster: str, run_id: str) -> Backup:
    """Require that a run's backup is in the journal; returns it. Raises CheckRefused."""
    return recorded_backup(cluster, run_id, back_up_lockspace)


@check
def require_lockspace_restorable(
    cluster: str, target: Target, lockspace: Lockspace, backup: Backup
) -> Site:
    """Require that path and size are the backup's and its checksum holds.

    Returns the place, with the backup's host as the one that acts. Raises CheckRefused.
    """
    return restore_site(cluster, target, lockspace.target, backup)


@check
def require_lockspace_still_restorable(
    site: Site, lockspace: Lockspace, backup: Backup, kept: Backup
) -> str:
    """Require the same once more, and that nobody is in the lockspace. Raises CheckRefused."""
    joined = still_joined(site, lockspace)
    if joined is not None:
        raise CheckRefused(joined, "stop agents and brokers on all hosts and run this again")
    return require_whole(site, backup, kept)


@change
def restore_lockspace_area(site: Site, lockspace: Lockspace, backup: Backup) -> Outcome:
    """Write the backup over the area, exactly once. Raises CheckRefused."""
    require_still_out(site, lockspace, STEP)
    return written_back(site, backup, STEP)


@wait
def prove_lockspace_restored(site: Site, backup: Backup) -> str:
    """Prove from another host that the area equals the backup. Raises ChecksumDiffers."""
    return proved_restored(site, backup)


@look(foretold=lambda site, lockspace: ())
def read_lockspace_next_steps(site: Site, lockspace: Lockspace) -> tuple[str, ...]:
    """Say what to do after a restore: everything is still stopped."""
    return say_next_steps(
        site,
        f"The lockspace at {lockspace.target.path} is as it was before the write.",
        "run recover-lockspace",
    )
