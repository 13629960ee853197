"""end-local-maintenance: one host comes back into HA; global maintenance stays as it is."""

from prefect import flow

from tasks.checks import require_hosts_ready, require_one_configuration, require_one_target
from tasks.maintenance_checks import require_host_to_maintain
from tasks.maintenance_local import end_local_maintenance, wait_until_back_in_service
from tasks.report import tells_way_back
from tasks.runs import recorded_run
from tasks.status import read_baseline, read_final_status
from tasks.under_way import require_nothing_under_way


@flow(name="end-local-maintenance", flow_run_name="end-local-maintenance {host}")
@recorded_run("end-local-maintenance")
@tells_way_back("end-local-maintenance")
def return_host(cluster: str, host: str) -> None:
    """Clear a host's local maintenance, and see it alive with a score again."""
    # Checks: nothing is changed, so a refusal needs no clean-up.
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    site = require_host_to_maintain(cluster, target, host)
    read_baseline(site)
    end_local_maintenance(site, host)
    wait_until_back_in_service(site, host)
    read_final_status(site)
