"""What an operator, or oVirt's engine, does to a simulated cluster without the command."""

from collections.abc import Sequence

from ha.core.record import GLOBAL_BLOCK, encode_global
from ha.core.sighting import VmSighting, VmState
from ha.env.ports import BrokerError, BrokerUnreachable
from ha.simulator.broker_link import SimBrokerLink
from ha.simulator.host import SimHost
from ha.simulator.processes import Process

BROKER_LIMIT_SECONDS = 60.0
MIGRATION_SECONDS = 1.5


def set_global_maintenance(hosts: Sequence[SimHost], on: bool) -> None:
    """Have the first host whose broker does it set the cluster's flag, in the background."""
    host = next((host for host in hosts if host.on), hosts[0])
    if host.on:
        process = Process("operator", host.name, host.boot)
        host.site.schedule.spawn(process, "set-maintenance", lambda: _set(hosts, process, on))


def _set(hosts: Sequence[SimHost], process: Process, on: bool) -> None:
    site = hosts[0].site
    word = "on" if on else "off"
    site.maintenance.begin()
    try:
        for host in hosts:
            link = SimBrokerLink(site.schedule, host, BROKER_LIMIT_SECONDS)
            try:
                if host.on:
                    link.set_global_maintenance(on)
                    break
            except (BrokerError, BrokerUnreachable) as error:
                site.say(host.name, "command", f"global maintenance is not {word}: {error}")
        else:
            return
    finally:
        site.maintenance.end()
    if site.storage.blocks[GLOBAL_BLOCK] == encode_global(on):
        site.maintenance.acknowledge(on, site.schedule.now)
        site.say(host.name, "command", f"global maintenance is {word}")


def migrate(source: SimHost, target: SimHost) -> None:
    """Begin to move the running VM to another host, as oVirt's engine does."""
    vm = source.libvirt.vm
    if vm is None or vm.state is not VmState.UP or source is target:
        return source.site.say(source.name, "vm", "cannot migrate: it does not run here")
    if not _can_receive(target):
        return source.site.say(source.name, "vm", f"cannot migrate to {target.name}")
    vm.state = VmState.MIGRATION_SOURCE
    source.site.say(source.name, "vm", f"migrates to {target.name}")
    source.libvirt.tell(VmSighting(vm.state))
    source.site.schedule.after(MIGRATION_SECONDS, lambda: _arrive(source, target), source.boot)
    return None


def _arrive(source: SimHost, target: SimHost) -> None:
    vm = source.libvirt.vm
    if vm is None or vm.state is not VmState.MIGRATION_SOURCE:
        return None
    vm.state = VmState.UP
    if not _can_receive(target) or not source.path.works:
        return source.site.say(source.name, "vm", f"does not arrive on {target.name}")
    source.libvirt.leave_to(target.libvirt)
    return None


def _can_receive(target: SimHost) -> bool:
    free = target.libvirt.vm is None and target.libvirt.starting is None
    return target.on and target.uplink and target.libvirt.answers and free and target.can_hold_vm
