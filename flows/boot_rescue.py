"""boot-rescue: the engine VM from a rescue medium, and back to its own disk."""

from prefect import flow

from tasks.approvals_rescue import approve_power_off, approve_rescue, approve_rescue_done
from tasks.checks import require_hosts_ready, require_one_configuration, require_one_target
from tasks.maintenance import enter_global_maintenance, wait_until_hands_off
from tasks.own_maintenance import leave_global_maintenance, wait_until_stable
from tasks.report import tells_way_back
from tasks.rescue import (
    cut_rescue_power,
    require_rescue_host,
    require_rescue_plan,
    require_same_plan,
    shut_down_rescue,
    start_rescue,
    wait_until_rescue_ends,
    wait_until_rescue_is_down,
    write_rescue_conf,
)
from tasks.rescue_boot import prove_no_medium, wait_until_rescue_boots
from tasks.rescue_power import (
    cut_engine_power,
    shut_down_engine,
    start_engine,
    wait_until_engine_good,
    wait_until_shut_down,
    wait_until_vm_down,
)
from tasks.runs import recorded_run
from tasks.status import read_baseline, read_final_status
from tasks.under_way import require_nothing_under_way


@flow(name="boot-rescue", flow_run_name="boot-rescue {cluster}")
@recorded_run("boot-rescue")
@tells_way_back("boot-rescue")
def boot_rescue(
    cluster: str, medium: str, host: str | None = None, console_says: str = "", menu: bool = False
) -> None:
    """Boot the engine VM from a rescue medium under global maintenance, and bring it back."""
    # Checks: nothing is changed, so a refusal needs no clean-up.
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    site = require_rescue_host(cluster, target, host)
    plan = require_rescue_plan(site, medium, console_says, menu)
    baseline = read_baseline(site)
    approve_rescue(site, plan, baseline)
    running = require_same_plan(site, plan, menu)
    # Hands off, then the engine VM down, proven.
    enter_global_maintenance(site, "the engine VM boots from a rescue medium")
    wait_until_hands_off(site)
    shut_down_engine(site, running)
    left = wait_until_shut_down(site)
    approve_power_off(site, left)
    cut_engine_power(site, left)
    wait_until_vm_down(site)
    write_rescue_conf(site, plan)
    start_rescue(site, plan)
    booted = wait_until_rescue_boots(site, plan)
    # A person works in the rescue system.
    approve_rescue_done(site, plan, booted)
    shut_down_rescue(site, site.actor)
    left = wait_until_rescue_ends(site)
    cut_rescue_power(site, left)
    wait_until_rescue_is_down(site)
    start_engine(site, site.actor)
    wait_until_engine_good(site, site.actor)
    prove_no_medium(site, plan)
    ended = leave_global_maintenance(site)
    wait_until_stable(site, ended)
    read_final_status(site)
