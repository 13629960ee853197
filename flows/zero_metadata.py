"""metadata-too-new: repair a whiteboard that holds blocks nobody can read."""

from prefect import flow

from tasks.absent import without_powered_off
from tasks.approvals import approve_write
from tasks.backup import back_up_whiteboard
from tasks.checks import (
    require_backup_space,
    require_bad_block,
    require_host_to_act,
    require_hosts_ready,
    require_known_writers,
    require_one_configuration,
    require_one_target,
)
from tasks.own_maintenance import leave_global_maintenance, wait_until_stable
from tasks.powered_off import approve_powered_off, require_silent
from tasks.report import tells_way_back
from tasks.runs import recorded_run
from tasks.services import (
    start_canary,
    start_host,
    stop_services,
    wait_until_canary_live,
    wait_until_host_live,
    wait_until_stopped,
)
from tasks.status import read_baseline, read_block_table, read_final_status
from tasks.stop_first import (
    approve_stop_first,
    enter_global_maintenance,
    wait_until_hands_off,
)
from tasks.under_way import require_nothing_under_way
from tasks.zeroing import prove_write, require_unchanged, write_maintenance_flag, write_zeros

BACKUPS = "/var/lib/hosted-engine-runbooks/backups"


@flow(name="metadata-too-new", flow_run_name="metadata-too-new {cluster}")
@recorded_run("metadata-too-new")
@without_powered_off
@tells_way_back("metadata-too-new")
def zero_metadata(
    cluster: str, canary: str | None = None, backup_directory: str = BACKUPS, powered_off: str = ""
) -> None:
    """Zero the bad blocks of the whiteboard while all agents and brokers are stopped."""
    # Checks: nothing is changed, so a refusal needs no clean-up.
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    silent = require_silent(cluster, volume, target)
    require_bad_block(cluster, target)
    writers = require_known_writers(cluster, target)
    site = require_host_to_act(cluster, target, writers, canary)
    require_backup_space(site, backup_directory)
    baseline = read_baseline(site)
    approve_powered_off(cluster, silent)
    hold = approve_stop_first(site, writers, baseline)
    enter_global_maintenance(site, hold)
    wait_until_hands_off(site, hold)
    for host in site.hosts:
        stop_services(site, host)
    proof = wait_until_stopped(site)
    # A way back first, then a person's word, then a second look.
    backup = back_up_whiteboard(site, backup_directory)
    rows = read_block_table(site)
    plan = approve_write(site, rows, backup, proof=proof, baseline=baseline)
    require_unchanged(site, volume, backup)
    write_zeros(site, plan)
    prove_write(site, plan, backup)
    write_maintenance_flag(site)
    # One host first; the others only when it is seen to do well.
    start_canary(site, site.actor)
    wait_until_canary_live(site, site.actor)
    for host in site.others:
        start_host(site, host)
    for host in site.others:
        wait_until_host_live(site, host)
    left = leave_global_maintenance(site)
    wait_until_stable(site, left)
    read_final_status(site)
