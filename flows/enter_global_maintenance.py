"""enter-global-maintenance: HA keeps its hands off, with an owner, a reason and a deadline."""

from prefect import flow

from tasks.checks import (
    require_acting_host,
    require_hosts_ready,
    require_one_configuration,
    require_one_target,
)
from tasks.maintenance import enter_global_maintenance, wait_until_hands_off
from tasks.maintenance_leases import require_reason
from tasks.report import tells_way_back
from tasks.runs import recorded_run
from tasks.status import read_baseline, read_final_status
from tasks.under_way import require_nothing_under_way


@flow(name="enter-global-maintenance", flow_run_name="enter-global-maintenance {cluster}")
@recorded_run("enter-global-maintenance")
@tells_way_back("enter-global-maintenance")
def enter_maintenance(cluster: str, reason: str, deadline_hours: float = 8.0) -> None:
    """Set global maintenance and prove that every live host keeps its hands off."""
    # Checks: nothing is changed, so a refusal needs no clean-up.
    deadline_seconds = require_reason(reason, deadline_hours)
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    site = require_acting_host(cluster, target, None)
    read_baseline(site)
    # The lease stays open when this run has ended: leave-global-maintenance gives it back.
    enter_global_maintenance(site, reason, deadline_seconds)
    wait_until_hands_off(site)
    read_final_status(site)
