"""engine-console: a VNC password for two minutes, and how to connect."""

from prefect import flow

from tasks.checks import require_hosts_ready, require_one_configuration, require_one_target
from tasks.console import (
    give_console_ticket,
    read_ticket,
    require_engine_running,
    require_password,
    wait_until_expired,
)
from tasks.report import tells_way_back
from tasks.runs import recorded_run
from tasks.under_way import require_nothing_under_way


@flow(name="engine-console", flow_run_name="engine-console {cluster}")
@recorded_run("engine-console")
@tells_way_back("engine-console")
def engine_console(cluster: str, password_from: str = "") -> None:
    """Open the engine VM's console for two minutes and say how to connect to it."""
    # Checks: nothing is changed, so a refusal needs no clean-up.
    require_hosts_ready(cluster)
    require_nothing_under_way(cluster)
    volume = require_one_configuration(cluster)
    target = require_one_target(cluster, volume)
    site = require_engine_running(cluster, target)
    place = require_password(password_from)
    give_console_ticket(site, site.actor, password_from)
    ticket = read_ticket(site, site.actor, place)
    wait_until_expired(ticket)
