"""recover-lockspace: write the lockspace hosted-engine anew when sanlock cannot read it."""

from prefect import flow

from tasks.absent import without_powered_off
from tasks.checks import (
    require_backup_space,
    require_host_to_act,
    require_hosts_ready,
    require_known_writers,
    require_one_configuration,
    require_one_target,
)
from tasks.lockspace import (
    require_broken_lockspace,
    require_readable_whiteboard,
)
from tasks.lockspace_approvals import approve_lockspace_write
from tasks.lockspace_leave import leave_lockspace, wait_until_left
from tasks.lockspace_write import (
    back_up_lockspace,
    initialise_lockspace,
    prove_lockspace,
    read_diagnosis,
    require_lockspace_unchanged,
    wait_until_ids_held,
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
from tasks.status import read_baseline, read_final_status
from tasks.stop_first import (
    approve_stop_first,
    enter_global_maintenance,
    wait_until_hands_off,
)
from tasks.under_way import require_nothing_under_way
from tasks.zeroing import write_maintenance_flag

BACKUPS = "/var/lib/hosted-engine-runbooks/backups"


@flow(name="recover-lockspace", flow_run_name="recover-lockspace {cluster}")
@recorded_run("recover-lockspace")
@without_powered_off
@tells_way_back("recover-lockspace")
def recover(
    cluster: str, canary: str | None = None, backup_directory: str = BACKUPS, powered_off: str = ""
) -> None:
    """Initialise the lockspace while no host is in it, and see each take its id again."""
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    silent = require_silent(cluster, volume, target)
    found = require_broken_lockspace(cluster, volume)
    require_readable_whiteboard(cluster, target)
    writers = require_known_writers(cluster, target)
    site = require_host_to_act(cluster, target, writers, canary)
    require_backup_space(site.at(found.lockspace.target), backup_directory)
    baseline = read_baseline(site)
    approve_powered_off(cluster, silent)
    hold = approve_stop_first(site, writers, baseline)
    enter_global_maintenance(site, hold)
    wait_until_hands_off(site, hold)
    for host in site.hosts:
        stop_services(site, host)
        leave_lockspace(site, found.lockspace, host)
    wait_until_stopped(site)
    write_maintenance_flag(site)
    proof = wait_until_left(site, found.lockspace)
    backup = back_up_lockspace(site, found.lockspace, backup_directory)
    found = read_diagnosis(site, found)
    approve_lockspace_write(site, found, proof=proof, backup=backup, baseline=baseline)
    require_lockspace_unchanged(site, found.lockspace, backup)
    initialise_lockspace(site, found, backup)
    prove_lockspace(site, found, backup)
    start_canary(site, site.actor)
    wait_until_canary_live(site, site.actor)
    for host in site.others:
        start_host(site, host)
        wait_until_host_live(site, host)
    wait_until_ids_held(site, found)
    left = leave_global_maintenance(site)
    wait_until_stable(site, left)
    read_final_status(site)
