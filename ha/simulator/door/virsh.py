"""`virsh` on a simulated host, and `pgrep` for what libvirt has started."""

import re
from collections.abc import Callable, Mapping

from ha.core.sighting import VmState
from ha.simulator.deployed import VM_NAME, VM_XML
from ha.simulator.door.call import Call
from ha.simulator.engine_vm_sim import SimEngineVm
from ha.simulator.host import SimHost
from ha.simulator.operator import migrate

# What comes before the verb, and the values that some of it has.
WITH_VALUE = ("-c", "--connect")
STATES = {
    VmState.UP: "running",
    VmState.PAUSED: "paused",
    VmState.POWERING_DOWN: "in shutdown",
    VmState.MIGRATION_SOURCE: "running",
    VmState.MIGRATION_DESTINATION: "paused",
}
CONNECT_FAILED = "error: failed to connect to the hypervisor"
LOOK_SECONDS = 0.5
READ_BYTES = 9_000_000


def virsh(call: Call) -> int:
    """Answer `virsh [OPTIONS] VERB ...`."""
    words, uri = _without_options(call)
    verb = words[0] if words else ""
    vm = SimEngineVm(call.host.site.schedule, call.host.libvirt, call.process)
    state = vm.sighting().state
    if state is VmState.UNKNOWN:
        return call.complain(CONNECT_FAILED)
    if verb == "list":
        if state in STATES:
            call.say(VM_NAME)
        return 0
    if verb == "uri":
        return _reach(call, uri)
    if state not in STATES:
        return call.complain(f"error: failed to get domain '{VM_NAME}'")
    if verb == "migrate":
        return _migrate(call, words)
    if verb == "destroy":
        vm.power_off()  # it is gone then, as it was never defined
    elif verb in TOLD:
        call.say(TOLD[verb](call, words, state))
    return 0


def pgrep(call: Call) -> int:
    """Answer `pgrep -f ...`, which is asked for the engine VM's emulator alone."""
    return 0 if call.host.libvirt.vm is not None else 1


def _without_options(call: Call) -> tuple[list[str], str]:
    words, uri = list(call.words), ""
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in WITH_VALUE:
            uri = words.pop(0)
    return words, uri


def _reach(call: Call, uri: str) -> int:
    target = _host_in(call, uri)
    if target is None or not (target.on and target.uplink and target.libvirt.answers):
        return call.complain(f"{CONNECT_FAILED}: {uri}")
    call.say(uri)
    return 0


def _migrate(call: Call, words: list[str]) -> int:
    uri = next((word for word in words if "://" in word), "")
    target = _host_in(call, uri)
    source, schedule = call.host, call.host.site.schedule
    if target is None:
        return call.complain(f"{CONNECT_FAILED}: {uri}")
    migrate(source, target)
    while (vm := source.libvirt.vm) is not None and vm.state is VmState.MIGRATION_SOURCE:
        schedule.sleep(LOOK_SECONDS)
    if source.libvirt.vm is not None or target.libvirt.vm is None:
        return call.complain("error: operation failed: migration of the domain failed")
    call.say("Migration: [100 %]")
    return 0


def _host_in(call: Call, uri: str) -> SimHost | None:
    found = re.match(r"[a-z+]+://(?:[^@/]*@)?([^/:]+)", uri)
    named = {host.name: host for host in call.cluster.hosts}
    return named.get(found[1]) if found else None


def _live_xml(call: Call) -> str:
    vm = call.host.libvirt.vm
    return VM_XML if vm is None else vm.xml or VM_XML


TOLD: Mapping[str, Callable[[Call, list[str], VmState], str]] = {
    "domstate": lambda _call, _words, state: STATES[state],
    "dumpxml": lambda call, _words, _state: _live_xml(call),
    "domblkstat": lambda _call, words, _state: f"{words[-1]} rd_bytes {READ_BYTES}",
}
