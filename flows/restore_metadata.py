"""restore-metadata: write the backup of a metadata-too-new run back, its undo."""

from prefect import flow

from tasks.approvals import approve_restore
from tasks.checks import require_hosts_ready, require_one_configuration, require_one_target
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
from tasks.runs import recorded_run
from tasks.services import require_stopped
from tasks.under_way import require_nothing_under_way


@flow(name="restore-metadata", flow_run_name="restore-metadata {cluster}")
@recorded_run("restore-metadata")
@tells_way_back("restore-metadata")
def restore_metadata(cluster: str, run_id: str) -> None:
    """Write a run's backup of the whiteboard back while all agents and brokers are stopped."""
    # Checks: nothing is changed, so a refusal needs no clean-up.
    backup = require_backup_record(cluster, run_id)
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    site = require_restorable(cluster, target, backup)
    proof = require_stopped(site)
    backup = fetch_backup(site, backup)
    # A person's word, then a second look.
    approve_restore(site, backup, proof)
    require_still_restorable(site, backup)
    restore_backup(site, backup)
    prove_restored(site, backup)
    # Everything stays stopped: what comes next is for a person to decide.
    read_next_steps(site)
