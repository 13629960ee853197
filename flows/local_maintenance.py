"""local-maintenance: one host leaves HA, the engine VM moved off it first."""

from prefect import flow

from tasks.checks import require_hosts_ready, require_one_configuration, require_one_target
from tasks.maintenance_checks import require_failover, require_host_to_maintain
from tasks.maintenance_local import enter_local_maintenance, wait_until_out_of_service
from tasks.migration_ways import (
    approve_move,
    move_engine_vm,
    require_still_so,
    require_way_to_move,
)
from tasks.report import tells_way_back
from tasks.runs import recorded_run
from tasks.status import read_baseline, read_final_status
from tasks.under_way import require_nothing_under_way


@flow(name="local-maintenance", flow_run_name="local-maintenance {host}")
@recorded_run("local-maintenance")
@tells_way_back("local-maintenance")
def maintain_host(cluster: str, host: str, acknowledge_no_failover: bool = False) -> None:
    """Move the engine VM off a host, and set the host's local maintenance."""
    # Checks: nothing is changed, so a refusal needs no clean-up.
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    site = require_host_to_maintain(cluster, target, host)
    failover = require_failover(site, host, acknowledge_no_failover)
    move = require_way_to_move(site, host, failover)
    read_baseline(site)
    # The engine VM first; a person's word only where libvirt cannot migrate it.
    way = approve_move(site, move)
    require_still_so(site, move, way)
    move_engine_vm(site, move, way)
    enter_local_maintenance(site, host)
    wait_until_out_of_service(site, host)
    read_final_status(site)
