"""restore-metadata: write the backup of a metadata-too-new run back, its undo."""

from prefect import flow

from tasks.absent import without_powered_off
from tasks.approvals import approve_restore
from tasks.backup import back_up_whiteboard
from tasks.checks import (
    require_backup_space,
    require_hosts_ready,
    require_one_configuration,
    require_one_target,
)
from tasks.powered_off import approve_powered_off, require_silent
from tasks.report import tells_way_back
from tasks.restore import (
    fetch_backup,
    prove_restored,
    read_next_steps,
    require_backup_record,
    require_restorable,
    require_still_restorable,
    restore_backup,
)
from tasks.restore_history import read_history
from tasks.runs import recorded_run
from tasks.services import require_stopped
from tasks.under_way import require_nothing_under_way

BACKUPS = "/var/lib/hosted-engine-runbooks/backups"


@flow(name="restore-metadata", flow_run_name="restore-metadata {cluster}")
@recorded_run("restore-metadata")
@without_powered_off
@tells_way_back("restore-metadata")
def restore_metadata(
    cluster: str, run_id: str, backup_directory: str = BACKUPS, powered_off: str = ""
) -> None:
    """Write a run's backup of the whiteboard back while all agents and brokers are stopped."""
    # Checks: nothing is changed, so a refusal needs no clean-up.
    backup = require_backup_record(cluster, run_id)
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    silent = require_silent(cluster, volume, target)
    site = require_restorable(cluster, target, backup)
    proof = require_stopped(site)
    require_backup_space(site, backup_directory)
    approve_powered_off(cluster, silent)
    # A way back of the way back.
    kept = back_up_whiteboard(site, backup_directory)
    backup = fetch_backup(site, backup)
    # A person's word, then a second look.
    history = read_history(cluster, run_id)
    approve_restore(site, backup, proof, kept, history)
    require_still_restorable(site, backup, kept)
    restore_backup(site, backup)
    prove_restored(site, backup)
    # Everything stays stopped: what comes next is for a person to decide.
    read_next_steps(site)
