"""The engine VM's power: shut down, cut, proven down, started; while HA keeps its hands off.

The command's exit codes prove nothing: a shutdown returns at once, and a start returns before the
lease is asked for. What counts is libvirt on all hosts, the leases that sanlock holds, and the
whiteboard as another host reads it.
"""

from tasks.env import world
from tasks.limits import limit
from tasks.migration import engine_host, not_alone_on
from tasks.plan import planning
from tasks.recorded import Outcome, change, wait
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.runs import log
from tasks.steps import StepResult, run_once
from tasks.vm_lease import lease_holders
from tasks.waiting import TimedOut, wait_until
from tasks.witnesses import live_ids, maintenance_flag, records

EVERY_SECONDS = 3.0
SHUTDOWN = ("hosted-engine", "--vm-shutdown")
POWER_OFF = ("hosted-engine", "--vm-poweroff")
START = ("hosted-engine", "--vm-start")
LIVELINESS = ("hosted-engine", "--check-liveliness")
DOWN = "down"


class VmNotDown(Exception):
    """The engine VM's power was cut and it is still there; raised by cut_engine_power."""


class VmNotStarted(Exception):
    """The engine VM does not run where it was started; raised by start_engine."""


@change
def shut_down_engine(site: Site, host: str) -> Outcome:
    """Ask the engine VM on this host to shut down; it is not down yet when this returns."""
    return ask_to_shut_down(site, host, "shut_down_engine")


@wait(foretold=lambda site: DOWN)
def wait_until_shut_down(site: Site) -> str:
    """Wait for the shutdown's end; returns `down`, or the host that still runs the VM."""
    return down_or_host(site)


@change
def cut_engine_power(site: Site, running: str) -> Outcome:
    """Cut the engine VM's power on the host that still runs it, if one does. Raises VmNotDown."""
    return cut_power(site, running, "cut_engine_power")


@wait
def wait_until_vm_down(site: Site) -> str:
    """Wait until the VM is nowhere: not in libvirt, not on the whiteboard, no lease held.

    Returns how it is known. Raises TimedOut.
    """
    _wait_until_down(site, limit("down_seconds"))
    return f"no domain and no lease on {', '.join(site.hosts)}; no live host says that it is up"


@change
def start_engine(site: Site, host: str) -> Outcome:
    """Start the engine VM on a host with its own vm.conf. Its proof is wait_until_engine_good.

    Raises CheckRefused when it runs elsewhere, VmNotStarted.
    """
    return start_vm(site, host, "", step="start_engine")


@wait
def wait_until_engine_good(site: Site, host: str) -> str:
    """Wait until the VM runs on this host alone, holds its lease, and the engine is well.

    Returns the host that asked the engine for its health. Raises TimedOut.
    """
    asked = next((each for each in site.hosts if each != host), host)

    def look() -> str | None:
        missing = not_running_on(site, host)
        if missing is not None:
            return missing
        ran = site.shell(asked).run(LIVELINESS, timeout_seconds=limit("look_seconds"))
        if ran.exit_code != 0:
            return f"{asked}: {(ran.stdout or ran.stderr).strip() or 'the engine is silent'}"
        return None

    wait_until(
        f"the engine is well on {host}",
        look,
        timeout_seconds=limit("engine_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return asked


def ask_to_shut_down(site: Site, host: str, step: str) -> Outcome:
    """Send the shutdown to a host, under the name of a step; ALREADY when the VM is not there."""
    ran = _run_with_vm(site, host, SHUTDOWN, step)
    if ran is None:
        return Outcome.ALREADY
    if ran.exit_code != 0:
        log().warning("%s: exit code %d: %s", host, ran.exit_code, ran.stdout.strip())
    return Outcome.CHANGED


def down_or_host(site: Site) -> str:
    """Wait for a shutdown's end; returns `down`, or the host that still runs the VM."""
    try:
        _wait_until_down(site, limit("shutdown_seconds"))
    except TimedOut as error:
        log().warning("%s", error)
        return engine_host(site.look_at_all()) or DOWN
    return DOWN


def cut_power(site: Site, running: str, step: str) -> Outcome:
    """Cut the VM's power on the host that runs it, under the name of a step. Raises VmNotDown."""
    ran = _run_with_vm(site, running, POWER_OFF, step)
    if ran is None:
        return Outcome.ALREADY
    if site.look(running).runs_engine:
        said = ran.stdout[-500:].strip() or "no output"
        raise VmNotDown(
            f"{running}: libvirt still has the engine VM after `{' '.join(POWER_OFF)}`, exit code "
            f"{ran.exit_code}: {said}. What to do: look at libvirt there (virsh list --all)"
        )
    return Outcome.CHANGED


def start_vm(site: Site, host: str, vm_conf: str, *, step: str) -> Outcome:
    """Start the VM on a host, with another vm.conf if one is named, under the name of a step.

    Raises CheckRefused when it runs elsewhere, VmNotStarted.
    """
    if not begun(host, step):
        _require_hands_off(site)
        running = engine_host(site.look_at_all())
        if running == host:
            return Outcome.ALREADY
        if running is not None:
            raise CheckRefused(f"the engine VM runs on {running}", "it must be down everywhere")
    argv = start_argv(vm_conf)
    ran = run_once(
        site.shell(host),
        argv,
        step=step,
        timeout_seconds=limit("start_vm_seconds"),
        accept=range(256),
    )
    if ran.exit_code != 0:
        said = ran.stdout[-500:].strip() or "no output"
        raise VmNotStarted(
            f"{host}: `{' '.join(argv)}` ended with exit code {ran.exit_code}: {said}. "
            "What to do: see below; nobody else starts it while global maintenance is on"
        )
    return Outcome.CHANGED


def start_argv(vm_conf: str = "") -> tuple[str, ...]:
    """Return the start command; upstream wants --vm-conf to be the first argument after it."""
    return (*START, f"--vm-conf={vm_conf}") if vm_conf else START


def not_running_on(site: Site, host: str) -> str | None:
    """Return what speaks against the VM running on this host alone, lease included; or None."""
    missing = not_alone_on(site, host, not_by=host)
    if missing is not None:
        return missing
    held = lease_holders(site)
    if held != (host,):
        return f"the lease of its disk is held by {', '.join(held) or 'nobody'}"
    return None


def not_down(site: Site) -> str | None:
    """Return what speaks against the VM being down everywhere, or None.

    Raises NotKnown where libvirt or sanlock does not answer.
    """
    running = engine_host(site.look_at_all())
    if running is not None:
        return f"libvirt has it on {running}"
    held = lease_holders(site)
    if held:
        return f"the lease of its disk is held by {', '.join(held)}"
    names = hosts_that_say_up(site)
    return f"{', '.join(names)} says on the whiteboard that it is up" if names else None


def hosts_that_say_up(site: Site) -> list[str]:
    """Return the hosts that still write, and say on the whiteboard that the VM is up."""
    before = site.read(site.witness)
    says_up = {n: record for n, record in records(before).items() if record.vm == "up"}
    if not says_up:
        return []
    # A host that went away while the VM ran says so for ever: only who still writes counts.
    world().clock.sleep(limit("publish_seconds"))
    live = live_ids(before, site.read(site.witness))
    return [record.hostname for n, record in says_up.items() if n in live]


def _wait_until_down(site: Site, timeout_seconds: float) -> None:
    wait_until(
        "the engine VM is down everywhere",
        lambda: not_down(site),
        timeout_seconds=timeout_seconds,
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )


def _run_with_vm(site: Site, host: str, argv: tuple[str, ...], step: str) -> StepResult | None:
    """Run a command once on the host that has the VM; None when the VM is not there."""
    if host == DOWN or (not begun(host, step) and not site.look(host).runs_engine):
        return None
    _require_hands_off(site)
    return run_once(
        site.shell(host),
        argv,
        step=step,
        timeout_seconds=limit("look_seconds"),
        accept=range(256),
    )


def _require_hands_off(site: Site) -> None:
    """Without global maintenance HA would start the VM again at once. Raises CheckRefused."""
    if planning() is None and not maintenance_flag(site.read(site.witness)):
        raise CheckRefused("global maintenance is off", "enter it, and start a new run")
