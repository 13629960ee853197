"""A host of an upgrade leaves service and comes back: the engine VM, local maintenance, health."""

from tasks.maintenance_checks import find_failover
from tasks.maintenance_local import (
    BY_COMMAND,
    end_local_maintenance,
    enter_local_maintenance,
    wait_until_back_in_service,
    wait_until_out_of_service,
)
from tasks.migration import engine_host, migrate_engine_vm
from tasks.plan import planning
from tasks.recorded import Outcome, change, check, wait
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.reissue import ended
from tasks.run_site import Site
from tasks.status import engine_not_well, well_twice
from tasks.upgrade_plan import UpgradePlan, require_in_window
from tasks.whiteboard_table import Snapshot
from tasks.witnesses import records


def take_host_out(site: Site, plan: UpgradePlan, host: str, way: str = BY_COMMAND) -> None:
    """Take a host out of service, the engine VM moved off it first. Raises what its steps raise.

    `way` is BY_FILE under global maintenance, which upstream's command would end.
    """
    require_engine_did_so(site, plan, host)
    move_engine_vm(site, host)
    enter_local_maintenance(site, host, way)
    wait_until_out_of_service(site, host)


def bring_host_back(site: Site, plan: UpgradePlan, host: str, way: str = BY_COMMAND) -> None:
    """Bring a host back into service and see it there. Raises what its steps raise."""
    return_host(site, plan, host, way)
    wait_until_host_back(site, plan, host)


@check
def require_next_allowed(site: Site, host: str, outside_window: str) -> tuple[str, ...]:
    """Require an open window, a healthy engine, and another host for it: a clean point to stop at.

    Returns the hosts that could run the engine VM. Raises CheckRefused.
    """
    require_in_window(site.cluster, outside_window)
    missing = engine_not_well(site)
    if missing is not None:
        raise CheckRefused(missing, "see to the engine, then retry the run: it goes on from here")
    return _require_fit(site, host)


@check
def require_engine_did_so(site: Site, plan: UpgradePlan, host: str) -> str:
    """Require, where VDSM manages the hosts, that the engine has taken the host out of service.

    Raises CheckRefused.
    """
    if not plan.by_engine:
        return "not the engine's to do"
    now = site.look(host)
    if now.runs_engine or not now.local_maintenance:
        what = "still runs the engine VM" if now.runs_engine else "is not in maintenance"
        raise CheckRefused(
            f"{host} {what}", "put it into maintenance in the engine, then retry the run"
        )
    return f"{host} is in maintenance"


@change
def move_engine_vm(site: Site, host: str) -> Outcome:
    """Move the engine VM off a host, to the best other one, while it runs. Raises CheckRefused."""
    step, under_way, again = _issue(site, host, "move_engine_vm")
    if under_way is None and engine_host(site.look_at_all()) != host:
        return Outcome.CHANGED if again else Outcome.ALREADY
    target = under_way or _require_fit(site, host)[0]
    return migrate_engine_vm.function(site, target, step)


@change
def bring_engine_vm(site: Site, plan: UpgradePlan, host: str) -> Outcome:
    """Move the engine VM to the host that was upgraded first; it stays there for the others."""
    holder = engine_host(site.look_at_all())
    first = host == plan.hosts[0] and host not in plan.resting
    if not first or plan.by_engine or holder in plan.done:
        return Outcome.ALREADY
    return migrate_engine_vm.function(site, host, "bring_engine_vm")


@change
def return_host(site: Site, plan: UpgradePlan, host: str, way: str) -> Outcome:
    """Bring a host back; one that was out of service before the upgrade stays so."""
    if host in plan.resting:
        return Outcome.ALREADY
    if plan.by_engine:
        if planning() is None and site.look(host).local_maintenance:
            raise CheckRefused(
                f"{host} is still in maintenance", "activate it in the engine, then retry the run"
            )
        return Outcome.ALREADY
    return end_local_maintenance.function(site, host, way)


@wait
def wait_until_host_back(site: Site, plan: UpgradePlan, host: str) -> int:
    """Wait until another host sees it alive, with a score; returns the score. Raises TimedOut."""
    return 0 if host in plan.resting else wait_until_back_in_service.function(site, host)


@wait
def wait_until_well(site: Site, host: str, baseline: Snapshot) -> str:
    """Wait until the cluster is as well as before, with this host: stable, no score lost.

    Returns the engine's host. Raises TimedOut: nothing more is touched then.
    """
    before = {row.host_id: row.score or 0 for row in baseline.rows}
    resting = {each.host_id for each in baseline.hosts if each.local_maintenance}

    def lost(data: bytes) -> str | None:
        for host_id, record in records(data).items():
            if host_id in before and host_id not in resting and record.score < before[host_id]:
                return f"{record.hostname} has score {record.score}, before {before[host_id]}"
        return None

    return well_twice(site, lost)


def _issue(site: Site, host: str, step: str) -> tuple[str, str | None, bool]:
    """Return the name of the next try, where one under way leads to, and whether one has ended.

    A migration that failed may be tried again by a retry of the run, to another host as well.
    """
    number = 1
    while True:
        tries = {f"{step}.{number}.to-{other}": other for other in site.hosts}
        sent = [name for name in tries if planning() is None and begun(host, name)]
        if not any(ended(host, name) for name in sent):
            there = tries[sent[0]] if sent else None
            return f"{step}.{number}", there, number > 1
        number += 1


def _require_fit(site: Site, host: str) -> tuple[str, ...]:
    found = find_failover(site, host)
    if not found.fit:
        raise CheckRefused(
            f"no other host than {host} could run the engine VM: {'; '.join(found.unfit)}",
            "bring another host back first, then retry the run: it goes on from here",
        )
    return found.fit
