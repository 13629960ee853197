"""upgrade-howto: the eleven steps of the Howto, and the one that it leaves out."""

from typing import Literal

from prefect import flow

from tasks.checks import (
    require_acting_host,
    require_hosts_ready,
    require_one_configuration,
    require_one_target,
)
from tasks.engine_restart import restart_engine_vm, wait_until_engine_back
from tasks.engine_site import (
    back_up_engine,
    run_engine_setup,
    update_engine_packages,
    update_engine_setup,
)
from tasks.maintenance_local import BY_FILE
from tasks.report import tells_way_back
from tasks.runs import recorded_run
from tasks.status import read_baseline, read_final_status, wait_until_stable
from tasks.under_way import require_nothing_under_way
from tasks.upgrade_approvals import (
    approve_cluster_level,
    approve_host_back,
    approve_host_out,
    approve_rest,
    approve_upgrade,
)
from tasks.upgrade_backup import back_up_configuration
from tasks.upgrade_hosts import restart_ha, restart_vdsmd, update_packages, wait_until_new_agent
from tasks.upgrade_maintenance import (
    enter_global_maintenance,
    keep_hands_off,
    leave_for_a_look,
    leave_global_maintenance,
    wait_until_hands_off,
)
from tasks.upgrade_moves import (
    bring_engine_vm,
    bring_host_back,
    require_next_allowed,
    take_host_out,
    wait_until_well,
)
from tasks.upgrade_plan import require_fit_to_begin, require_same_plan, require_upgrade_plan

Window = Literal["refuse", "allow"]


@flow(name="upgrade-howto", flow_run_name="upgrade-howto {cluster}")
@recorded_run("upgrade-howto")
@tells_way_back("upgrade-howto")
def by_howto(cluster: str, canary: str | None = None, outside_window: Window = "refuse") -> None:
    """Upgrade engine and hosts under global maintenance, left after each host for a look."""
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    site = require_acting_host(cluster, target, canary)
    require_fit_to_begin(site, outside_window)
    plan = require_upgrade_plan(site)
    baseline = read_baseline(site)
    approve_upgrade(site, plan, baseline)
    require_same_plan(site, plan, outside_window)
    enter_global_maintenance(site, plan)
    wait_until_hands_off(site, plan)
    back_up_engine(site)
    update_engine_setup(site)
    run_engine_setup(site)
    update_engine_packages(site)
    restart_engine_vm(site, plan)
    wait_until_engine_back(site, plan)
    for host in plan.hosts:
        require_next_allowed(site, host, outside_window)
        back_up_configuration(site, host)
        keep_hands_off(site, plan, host)
        approve_host_out(site, plan, host)
        take_host_out(site, plan, host, BY_FILE)
        update_packages(site, host)
        restart_vdsmd(site, host)
        restart_ha(site, host)
        wait_until_new_agent(site, plan, host)
        approve_host_back(site, plan, host)
        bring_host_back(site, plan, host, BY_FILE)
        leave_for_a_look(site, host)
        bring_engine_vm(site, plan, host)
        wait_until_well(site, host, baseline)
        approve_rest(site, plan, host)
    approve_cluster_level(site, plan)
    leave_global_maintenance(site, plan)
    wait_until_stable(site)
    read_final_status(site)
