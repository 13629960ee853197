"""The machines that commands are run on: the hosts, and the engine VM from inside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ha.simulator.cluster import Cluster
from ha.simulator.door.call import Handler
from ha.simulator.door.packages import (
    ENGINE_PACKAGES,
    HOST_PACKAGES,
    OLD,
    Packages,
    dnf,
    engine_backup,
    engine_setup,
    engine_upgrade_check,
    needs_restarting,
    ps,
    rpm,
    two_versions,
)
from ha.simulator.door.sanlock_command import sanlock
from ha.simulator.door.systemctl import systemctl
from ha.simulator.door.tools import date, run_hosted_engine, sleep, timeout
from ha.simulator.door.virsh import pgrep, virsh
from ha.simulator.host import SimHost

HOST_KIND, ENGINE_KIND = "host", "engine"
ENGINE = "engine"
"""The engine VM's name, where a host's is asked for."""
_ANYWHERE: Mapping[str, Handler] = {"sleep": sleep, "date": date, "dnf": dnf, "rpm": rpm}
COMMANDS: Mapping[str, Mapping[str, Handler]] = {
    HOST_KIND: {
        **_ANYWHERE,
        "hosted-engine": run_hosted_engine,
        "systemctl": systemctl,
        "virsh": virsh,
        "pgrep": pgrep,
        "sanlock": sanlock,
        "ps": ps,
        "timeout": timeout,
    },
    ENGINE_KIND: {
        **_ANYWHERE,
        "engine-setup": engine_setup,
        "engine-backup": engine_backup,
        "engine-upgrade-check": engine_upgrade_check,
        "needs-restarting": needs_restarting,
    },
}


@dataclass(frozen=True, slots=True)
class Machine:
    """One of them. `place` is the host where it can be reached, None: it cannot be.

    `life` is another object after each start, and None when it does not run.
    """

    name: str
    kind: str
    packages: Packages
    place: Callable[[], SimHost | None]
    life: Callable[[], object]


def machines_of(cluster: Cluster) -> dict[str, Machine]:
    """Return all machines of a cluster whose time has not begun, by name."""
    hosts = [_host(host) for host in cluster.hosts]
    return {machine.name: machine for machine in (*hosts, _engine(cluster))}


def _host(host: SimHost) -> Machine:
    host.version = OLD
    return Machine(
        host.name,
        HOST_KIND,
        two_versions(HOST_PACKAGES),
        place=lambda: host if host.on and host.uplink else None,
        life=lambda: host.boot if host.on else None,
    )


def _engine(cluster: Cluster) -> Machine:
    def place() -> SimHost | None:
        for host in cluster.hosts:
            vm = host.libvirt.vm
            if host.executes_vm and host.uplink and vm is not None and vm.answers:
                return host
        return None

    def life() -> object:
        vms = (host.libvirt.vm for host in cluster.hosts if host.on)
        return next((vm for vm in vms if vm is not None), None)

    return Machine(ENGINE, ENGINE_KIND, two_versions(ENGINE_PACKAGES), place, life)
