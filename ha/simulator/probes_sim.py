"""What a simulated host sees of itself and of its network."""

from typing import TYPE_CHECKING

from ha.core.sighting import VmState

if TYPE_CHECKING:
    from ha.simulator.host import SimHost

PROBES = 5
PAUSE_SECONDS = 0.5
PROBE_LIMIT_SECONDS = 5.0
PAGE_SECONDS = 0.05
NO_ROUTE_SECONDS = 3.0


class SimProbes:
    """The probes of a host's broker."""

    def __init__(self, host: "SimHost") -> None:
        self._host = host
        self._sleep = host.site.schedule.sleep

    def network(self) -> float:
        """Share of successful network probes."""
        always = self._host.site.plan.deployment.get("network_test") == "none"
        share = self._host.network_share if self._host.uplink else 0.0
        share = 1.0 if always else share
        lost = round(PROBES * (1 - share))
        waits = 0 if self._host.refused else lost
        self._sleep((PROBES - 1) * PAUSE_SECONDS + waits * PROBE_LIMIT_SECONDS)
        return (PROBES - lost) / PROBES

    def bridge_up(self) -> bool:
        """Whether the management bridge is up."""
        return self._host.bridge

    def memory_free_mib(self) -> float | None:
        """Memory that a new VM could have."""
        return self._host.memory_free_mib

    def cpu_load_without_engine(self) -> float | None:
        """Share of the processors in use."""
        return self._host.cpu_load

    def health_page_ok(self) -> bool:
        """Whether the engine's health page says that all is well; asked where the VM is."""
        vm = self._host.libvirt.vm
        if vm is None or not vm.answers or vm.state is VmState.PAUSED:
            self._sleep(NO_ROUTE_SECONDS)
            return False
        self._sleep(PAGE_SECONDS)
        return vm.healthy and not vm.sick and not self._host.site.engine.broken
