"""restore-lockspace: write the area back that a recover-lockspace run has written, its undo."""

from prefect import flow

from tasks.absent import without_powered_off
from tasks.checks import (
    require_backup_space,
    require_hosts_ready,
    require_one_configuration,
    require_one_target,
)
from tasks.lockspace import require_one_lockspace
from tasks.lockspace_approvals import approve_lockspace_restore
from tasks.lockspace_leave import require_left
from tasks.lockspace_restore import (
    prove_lockspace_restored,
    read_lockspace_next_steps,
    require_lockspace_backup,
    require_lockspace_restorable,
    require_lockspace_still_restorable,
    restore_lockspace_area,
)
from tasks.lockspace_write import back_up_lockspace
from tasks.powered_off import approve_powered_off, require_silent
from tasks.report import tells_way_back
from tasks.restore import fetch_backup
from tasks.restore_history import read_history
from tasks.runs import recorded_run
from tasks.services import require_stopped
from tasks.under_way import require_nothing_under_way

BACKUPS = "/var/lib/hosted-engine-runbooks/backups"


@flow(name="restore-lockspace", flow_run_name="restore-lockspace {cluster}")
@recorded_run("restore-lockspace")
@without_powered_off
@tells_way_back("restore-lockspace")
def restore_lockspace(
    cluster: str, run_id: str, backup_directory: str = BACKUPS, powered_off: str = ""
) -> None:
    """Write a run's backup of the lockspace back while no host is in it."""
    # Checks: nothing is changed, so a refusal needs no clean-up.
    backup = require_lockspace_backup(cluster, run_id)
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    silent = require_silent(cluster, volume, target)
    lockspace = require_one_lockspace(cluster, volume)
    site = require_lockspace_restorable(cluster, target, lockspace, backup)
    require_stopped(site)
    proof = require_left(site, lockspace)
    require_backup_space(site.at(lockspace.target), backup_directory)
    approve_powered_off(cluster, silent)
    # A way back of the way back.
    kept = back_up_lockspace(site, lockspace, backup_directory)
    backup = fetch_backup(site, backup)
    # A person's word, then a second look.
    history = read_history(cluster, run_id)
    approve_lockspace_restore(site, lockspace, backup, proof=proof, kept=kept, history=history)
    require_lockspace_still_restorable(site, lockspace, backup, kept)
    restore_lockspace_area(site, lockspace, backup)
    prove_lockspace_restored(site, backup)
    # Everything stays stopped: what comes next is for a person to decide.
    read_lockspace_next_steps(site, lockspace)
