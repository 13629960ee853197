"""What must hold at every moment of every simulation, whatever goes wrong.

1. Never do two engine VMs run.
2. No daemon writes another host's block: when it asks for a write it holds its host id.
3. Global maintenance that was acknowledged stays until somebody else changes it.
4. In maintenance no agent starts or stops the engine VM.

That the engine comes up again in time is asked at the end of a run, by `ha.simulator.bound`.
"""

from collections.abc import Sequence

from ha.core.record import GLOBAL_BLOCK, encode_global
from ha.simulator.engine_vm_sim import END_START
from ha.simulator.host import SimHost
from ha.simulator.processes import Process
from ha.simulator.unit import AGENT

GRACE_SECONDS = 1.0
"""An agent acts at once on what it reads, but for what it waits in between."""
LOCAL_GRACE_SECONDS = 30.0
"""ha.conf is read at the beginning of a turn, before requests to the broker that may hang."""


class Invariants:
    """The judge of one simulation; `broken` says what did not hold, and when."""

    def __init__(self, hosts: Sequence[SimHost]) -> None:
        self._hosts = hosts
        self._site = hosts[0].site
        self._by_name = {host.name: host for host in hosts}
        self.broken: list[str] = []
        site = self._site
        site.on_vm.append(self._vm_changed)
        site.on_act.append(self._acts)
        site.storage.on_request.append(self._asks_to_write)
        site.storage.on_write.append(self._written)

    def _break(self, what: str) -> None:
        now = self._site.schedule.now
        self.broken.append(f"{now:.2f} s: {what}")
        self._site.say("", "broken", what)

    def _vm_changed(self) -> None:
        where = [host.name for host in self._hosts if host.executes_vm]
        if len(where) > 1:
            self._break(f"the engine VM runs on {' and '.join(where)}")

    def _asks_to_write(self, name: str, number: int) -> None:
        host = self._by_name[name]
        if number == GLOBAL_BLOCK:
            if self._site.maintenance.under_way == 0:
                self._break(f"{name} writes block 0 and nobody asked for it")
        elif not host.holds_whiteboard_lease(number):
            # Its own is that of its host id; --clean-metadata takes another's for a while.
            self._break(f"{name} writes block {number} without the lease on that host id")

    def _written(self, name: str, number: int, block: bytes) -> None:
        maintenance = self._site.maintenance
        if number != GLOBAL_BLOCK or maintenance.on is None or maintenance.under_way:
            return
        if block != encode_global(maintenance.on):
            self._break(f"{name} changes global maintenance, which nobody asked for")

    def _acts(self, process: Process, action: str) -> None:
        if process.name != AGENT.name or action == END_START:
            return
        now, host = self._site.schedule.now, self._by_name[process.host]
        maintenance = self._site.maintenance
        if host.thawed_at > now - LOCAL_GRACE_SECONDS:
            return  # what it read before it was frozen was true then
        if maintenance.on and now - maintenance.since > GRACE_SECONDS:
            self._break(f"{host.name}: {action} of the VM in global maintenance")
        local = host.local_maintenance and now - host.maintenance_since > LOCAL_GRACE_SECONDS
        if local and action == "start":
            self._break(f"{host.name}: {action} of the VM in local maintenance")
