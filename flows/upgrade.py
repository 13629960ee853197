"""upgrade: the engine first, then the hosts one at a time, as oVirt's newer guides have it."""

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
from tasks.report import tells_way_back
from tasks.runs import recorded_run
from tasks.status import read_baseline, read_final_status, wait_until_stable
from tasks.under_way import require_nothing_under_way
from tasks.upgrade_approvals import (
    approve_host_back,
    approve_host_out,
    approve_rest,
    approve_upgrade,
)
from tasks.upgrade_backup import back_up_configuration
from tasks.upgrade_hosts import restart_ha, restart_vdsmd, update_packages, wait_until_new_agent
from tasks.upgrade_maintenance import (
    enter_global_maintenance,
    leave_global_maintenance,
    wait_until_hands_off,
)
from tasks.upgrade_moves import (
    bring_host_back,
    require_next_allowed,
    take_host_out,
    wait_until_well,
)
from tasks.upgrade_plan import require_fit_to_begin, require_same_plan, require_upgrade_plan

Window = Literal["refuse", "allow"]


@flow(name="upgrade", flow_run_name="upgrade {cluster}")
@recorded_run("upgrade")
@tells_way_back("upgrade")
def upgrade(cluster: str, canary: str | None = None, outside_window: Window = "refuse") -> None:
    """Upgrade the engine under global maintenance, then each host under local maintenance."""
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
    # The engine first, while HA keeps its hands off.
    enter_global_maintenance(site, plan)
    wait_until_hands_off(site, plan)
    back_up_engine(site)
    update_engine_setup(site)
    run_engine_setup(site)
    update_engine_packages(site)
    restart_engine_vm(site, plan)
    wait_until_engine_back(site, plan)
    leave_global_maintenance(site, plan)
    wait_until_stable(site)
    # The hosts one at a time: the first one alone, and the engine VM's own one last.
    for host in plan.hosts:
        require_next_allowed(site, host, outside_window)
        back_up_configuration(site, host)
        approve_host_out(site, plan, host)
        take_host_out(site, plan, host)
        update_packages(site, host)
        restart_vdsmd(site, host)
        restart_ha(site, host)
        wait_until_new_agent(site, plan, host)
        approve_host_back(site, plan, host)
        bring_host_back(site, plan, host)
        wait_until_well(site, host, baseline)
        approve_rest(site, plan, host)
    read_final_status(site)
