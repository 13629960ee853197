"""`--vm-start`, `--vm-shutdown`, `--vm-poweroff`: the engine VM on this host."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ha.cli.host import Host, Refused
from ha.config_text import read_text
from ha.core.sighting import VmState
from ha.env.ports import VmAlreadyRuns, VmMissing, VmStartFailed, VmTrouble
from ha.vm_conf import VmConfError
from ha.vm_domain import start_xml

LAUNCH_LIMIT_SECONDS = 10.0
_POLL_SECONDS = 0.5


def vm_start(host: Host, options: Mapping[str, str]) -> None:
    """Start the VM; exit code 0 means that it runs, its lease included."""
    _start(host, options, paused=False)


def vm_start_paused(host: Host, options: Mapping[str, str]) -> None:
    """Start the VM with its processors stopped; exit code 0 means that it is there, paused."""
    _start(host, options, paused=True)
    host.say("Connect a console, then go on with: virsh resume HostedEngine")


def _start(host: Host, options: Mapping[str, str], *, paused: bool) -> None:
    xml = _start_xml(host, options.get("vm-conf"))
    replaced = (VmState.DOWN,) if paused else (VmState.DOWN, VmState.PAUSED)
    if (before := host.engine_vm.sighting().state) in replaced:
        host.say(f"VM exists and is {before.value}, cleaning up and restarting")
    try:
        host.engine_vm.start(xml, paused=paused)
    except VmAlreadyRuns as error:
        raise Refused(f"VM exists and its status is {error.status}") from error
    except VmStartFailed as error:
        raise Refused(f"VM failed to launch: {error}") from error
    except VmTrouble as error:
        raise Refused(f"It is not known whether the VM was started: {error}") from error
    deadline = host.clock.monotonic() + LAUNCH_LIMIT_SECONDS
    while (state := host.engine_vm.sighting().state) is VmState.WAIT_FOR_LAUNCH:
        if host.clock.monotonic() > deadline:
            break
        host.clock.sleep(_POLL_SECONDS)
    if state is not (VmState.PAUSED if paused else VmState.UP):
        raise Refused(f"VM failed to launch: it is {state.value}")
    host.say(f"VM is {state.value}")


def vm_shutdown(host: Host, options: Mapping[str, str]) -> None:
    """Ask the VM to shut down; it is not down yet when this returns."""
    del options
    _act(host, host.engine_vm.shutdown)
    host.say("The VM was asked to shut down; --vm-status tells when it is down")


def vm_poweroff(host: Host, options: Mapping[str, str]) -> None:
    """Cut the VM's power; exit code 0 means that it is off."""
    del options
    _act(host, host.engine_vm.power_off)
    state = host.engine_vm.sighting().state
    if state not in (VmState.DOWN, VmState.MISSING):
        raise Refused(f"The VM's power was cut, but it is {state.value}")
    host.say("The VM is off")


def _act(host: Host, request: Callable[[], None]) -> None:
    try:
        request()
    except VmMissing as error:
        raise Refused("Virtual machine does not exist on this host") from error
    except VmTrouble as error:
        raise Refused(str(error)) from error


def _start_xml(host: Host, given: str | None) -> str:
    own = read_text(host.paths.vm_conf)
    kvm = host.kvm()
    try:
        if given is None:
            return start_xml(own, host_name=host.name, kvm=kvm)
        copy = read_text(Path(given))
        return start_xml(copy, host_name=host.name, kvm=kvm, reference=own)
    except VmConfError as error:
        raise Refused(f"{given or host.paths.vm_conf}: {error}") from error
