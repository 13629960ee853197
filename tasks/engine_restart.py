"""The engine VM after its upgrade: restarted if it needs to be, started if it is down, and well.

Under global maintenance HA starts nothing: a VM that powers off while it is upgraded stays off.
"""

from tasks.engine_site import look_at_engine
from tasks.env import LostContact
from tasks.limits import limit
from tasks.migration import engine_host
from tasks.plan import planning
from tasks.recorded import Outcome, change, wait
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.rescue_power import shut_down_engine, start_vm, wait_until_vm_down
from tasks.run_site import Site
from tasks.runs import log
from tasks.status import engine_not_well
from tasks.upgrade_plan import UpgradePlan
from tasks.waiting import wait_until

EVERY_SECONDS = 3.0
NEEDS_RESTART = ("kernel", "glibc", "systemd")  # as dnf's needs-restarting has it


def restart_engine_vm(site: Site, plan: UpgradePlan) -> None:
    """Restart the engine VM if its packages want it, and start it if it is down.

    Raises what its steps raise.
    """
    shut = shut_engine_vm_down(site, plan)
    wait_until_engine_vm_down(site, shut)
    start_engine_vm(site, plan)


@change
def shut_engine_vm_down(site: Site, plan: UpgradePlan) -> Outcome:
    """Shut the engine VM down if its new packages want a restart; nothing otherwise."""
    if not plan.engine_work:
        return Outcome.ALREADY
    sent_to = None if planning() else _sent_to(site)
    if sent_to is None and not _wants_restart(site, plan):
        return Outcome.ALREADY
    holder = sent_to or engine_host(site.look_at_all())
    return Outcome.ALREADY if holder is None else shut_down_engine.function(site, holder)


@wait
def wait_until_engine_vm_down(site: Site, shut: Outcome) -> str:
    """Wait until the VM that was shut down is nowhere; returns how it is known. Raises TimedOut."""
    if shut is Outcome.ALREADY:
        return "it was not shut down"
    return wait_until_vm_down.function(site)


@change
def start_engine_vm(site: Site, plan: UpgradePlan) -> Outcome:
    """Start the engine VM if it is down, for whatever reason. Raises VmNotStarted."""
    step = "start_engine_vm"
    shut = planning() is not None and _wants_restart(site, plan)
    holder = engine_host(site.look_at_all())
    sent = [host for host in site.hosts if planning() is None and begun(host, step)]
    if holder is not None and not sent and not shut:
        return Outcome.ALREADY
    able = [host for host in reversed(plan.hosts) if host not in plan.resting]
    return start_vm(site, [*sent, *able, site.actor][0], "", step=step)


@wait
def wait_until_engine_back(site: Site, plan: UpgradePlan) -> str:
    """Wait until the engine is well, and upgraded; returns its version. Raises TimedOut."""
    if not plan.engine_work:
        return "" if plan.engine is None else plan.engine.version
    version = ""

    def missing() -> str | None:
        nonlocal version
        if (problem := engine_not_well(site)) is not None:
            return problem
        try:
            look = look_at_engine(site.cluster)
        except (LostContact, CheckRefused) as error:
            return str(error)
        version = "" if look is None else look.version
        return None if look is None or look.done else f"{version} still has upgrades, or a restart"

    wait_until(
        "the engine is back after its upgrade",
        missing,
        timeout_seconds=limit("engine_back_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return version


def _sent_to(site: Site) -> str | None:
    return next((host for host in site.hosts if begun(host, "shut_down_engine")), None)


def _wants_restart(site: Site, plan: UpgradePlan) -> bool:
    if planning() is not None:
        pending = () if plan.engine is None else plan.engine.pending
        return any(each.startswith(NEEDS_RESTART) for each in pending)
    try:
        look = look_at_engine(site.cluster)
    except LostContact as error:
        log().warning("the engine VM does not answer, so it is not restarted: %s", error)
        return False
    return look is not None and look.wants_reboot
