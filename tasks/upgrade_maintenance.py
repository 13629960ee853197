"""Global maintenance around an upgrade: for the engine alone, or for every host (the Howto)."""

from tasks import lease, maintenance
from tasks.limits import limit
from tasks.maintenance import DEADLINE_SECONDS, set_flag
from tasks.recorded import Outcome, change, wait
from tasks.run_site import Site
from tasks.upgrade_plan import UpgradePlan


def _reason(plan: UpgradePlan) -> str:
    return f"upgrade to {plan.target}"


@change
def enter_global_maintenance(site: Site, plan: UpgradePlan) -> Outcome:
    """Set global maintenance for the engine's upgrade, if it needs one. Raises TimedOut."""
    if not plan.engine_work:
        return Outcome.ALREADY
    return maintenance.enter_global_maintenance.function(site, _reason(plan))


@wait
def wait_until_hands_off(site: Site, plan: UpgradePlan) -> tuple[int, ...]:
    """Wait until every live host publishes that it is in maintenance; returns their ids.

    Raises TimedOut.
    """
    return maintenance.wait_until_hands_off.function(site) if plan.engine_work else ()


@change
def leave_global_maintenance(site: Site, plan: UpgradePlan) -> Outcome:
    """Leave global maintenance and see it on the storage; its leases end. Raises TimedOut."""
    if not plan.work:
        return Outcome.ALREADY
    return maintenance.leave_global_maintenance.function(site)


@change
def keep_hands_off(site: Site, plan: UpgradePlan, host: str) -> Outcome:
    """Set global maintenance for one host's upgrade, where it is not on yet. Raises TimedOut."""
    step = f"keep_hands_off.{host}"
    outcome = set_flag(site, step, True, limit("enter_maintenance_seconds"))
    lease.take(_reason(plan), DEADLINE_SECONDS)
    maintenance.wait_until_hands_off.function(site)
    return outcome


@change
def leave_for_a_look(site: Site, host: str) -> Outcome:
    """Leave global maintenance after a host, so that HA shows how well it is. Raises TimedOut."""
    step = f"leave_for_a_look.{host}"
    outcome = set_flag(site, step, False, limit("leave_maintenance_seconds"))
    lease.give_back()
    return outcome
