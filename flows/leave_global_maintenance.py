"""leave-global-maintenance: HA acts again; the engine VM is started if it is down."""

from prefect import flow

from tasks.approvals_maintenance import approve_engine_start
from tasks.checks import (
    require_acting_host,
    require_hosts_ready,
    require_one_configuration,
    require_one_target,
)
from tasks.maintenance import leave_global_maintenance
from tasks.maintenance_leases import require_no_foreign_lease, require_still_no_foreign_lease
from tasks.report import tells_way_back
from tasks.runs import recorded_run
from tasks.status import read_baseline, read_final_status, wait_until_stable
from tasks.under_way import require_nothing_under_way


@flow(name="leave-global-maintenance", flow_run_name="leave-global-maintenance {cluster}")
@recorded_run("leave-global-maintenance")
@tells_way_back("leave-global-maintenance")
def leave_maintenance(cluster: str, end_others: bool = False) -> None:
    """Clear global maintenance and prove that the cluster is at work again."""
    # Checks: nothing is changed, so a refusal needs no clean-up.
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    site = require_acting_host(cluster, target, None)
    leases = require_no_foreign_lease(cluster, end_others)
    baseline = read_baseline(site)
    # A person's word only where leaving starts a VM that is down.
    approve_engine_start(site, baseline, leases)
    require_still_no_foreign_lease(cluster, end_others)
    leave_global_maintenance(site)
    wait_until_stable(site)
    read_final_status(site)
