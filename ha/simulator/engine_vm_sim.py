"""The engine VM's port of one simulated process, with the memory that the real adapter has."""

from collections.abc import Callable

from ha.core.sighting import StopReason, VmSighting, VmState
from ha.env.ports import VmAlreadyRuns, VmLocked, VmMissing, VmStartFailed, VmTrouble, VmUnreachable
from ha.simulator.engine import Libvirt, Start
from ha.simulator.processes import Process
from ha.simulator.schedule import Schedule

END_START = "end-start"
"""An action that touches no VM that runs."""
END_START_SECONDS = 1.0
"""Killing an emulator takes so long."""


class SimEngineVm:
    """The VM on one host, through its libvirt."""

    def __init__(self, schedule: Schedule, libvirt: Libvirt, process: Process) -> None:
        self._schedule = schedule
        self._libvirt = libvirt
        self._process = process
        self._callbacks: list[Callable[[VmSighting], None]] = []
        self._listens = False
        self._stop_reason: StopReason | None = None
        self._starting = False
        self._start_cut = False

    def start(self, xml: str, *, paused: bool = False) -> None:
        """Start the VM; one that is paused is replaced, but for a start that is to end so.

        Blocks while the lease's owner only looks dead. Raises VmAlreadyRuns, VmLocked,
        VmStartFailed, VmUnreachable.
        """
        self._schedule.check()
        self._libvirt.act(self._process, "start")
        self._starting, self._start_cut = True, False
        try:
            self._start(xml, paused=paused)
        finally:
            self._starting = False

    def shutdown(self) -> None:
        """Press the power button. Raises VmMissing, VmTrouble, VmUnreachable."""
        self._schedule.check()
        self._libvirt.act(self._process, "shutdown")
        if self._starting:
            raise VmTrouble("HostedEngine is still being started")
        self._ask()
        self._libvirt.press_power_button()

    def power_off(self, *, only_a_start: bool = False) -> None:
        """Cut the power, also of a start of this object that waits for the lease.

        `only_a_start` leaves a VM that runs alone. Raises VmMissing, VmUnreachable.
        """
        self._schedule.check()
        self._libvirt.act(self._process, END_START if only_a_start else "power-off")
        start = self._libvirt.starting
        if self._starting and start is not None:
            # At once: a lease that is had while the emulator dies is of no use to it.
            self._start_cut = start.cut = True
            self._schedule.sleep(END_START_SECONDS)
            return
        if only_a_start:
            return
        self._ask()
        if self._libvirt.vm is None:
            raise VmMissing("Virtual machine HostedEngine does not exist")
        self._libvirt.end(StopReason.DESTROYED)

    def sighting(self) -> VmSighting:
        """Look at the VM now."""
        try:
            self._ask()
        except VmUnreachable:
            return VmSighting(VmState.UNKNOWN)
        vm = self._libvirt.vm
        if vm is None:
            return self._gone()
        self._stop_reason = None
        return VmSighting(vm.state)

    def watch(self, callback: Callable[[VmSighting], None]) -> None:
        """Call back after every change, and when libvirt goes or comes back."""
        self._schedule.check()
        self._callbacks.append(callback)
        self._listen()

    def _ask(self) -> None:
        """Reach libvirt: it answers nothing while a start is under way. Raises VmUnreachable."""
        self._schedule.check()
        start = self._libvirt.starting
        if start is not None:
            start.over.wait()
        if not self._libvirt.answers:
            raise VmUnreachable("libvirt does not answer")
        self._listen()

    def _listen(self) -> None:
        if not self._listens and self._libvirt.answers:
            self._listens = True
            self._libvirt.listeners.append(self._on_event)

    def _start(self, xml: str, *, paused: bool) -> None:
        seen = self.sighting()
        if seen.state is VmState.UNKNOWN:
            raise VmUnreachable("libvirt does not answer")
        if seen.state not in (VmState.DOWN, VmState.MISSING) and (
            paused or seen.state is not VmState.PAUSED
        ):
            raise VmAlreadyRuns(seen.state.value)
        if seen.state is VmState.PAUSED:
            self._libvirt.end(StopReason.DESTROYED)
        if self._start_cut:
            raise VmStartFailed("Its power was cut before it was started")
        self._stop_reason = None
        start: Start = self._libvirt.create(xml, paused=paused)
        start.over.wait()
        if start.refusal is not None:
            locked = isinstance(start.refusal, VmLocked)
            self._stop_reason = StopReason.LOCKED if locked else StopReason.FAILED
            raise VmStartFailed(str(start.refusal)) if not locked else VmLocked(str(start.refusal))

    def _gone(self) -> VmSighting:
        known = self._stop_reason
        return VmSighting(VmState.MISSING) if known is None else VmSighting(VmState.DOWN, known)

    def _on_event(self, seen: VmSighting) -> None:
        if not self._process.alive:
            return
        if seen.state is VmState.MISSING:  # libvirt is back, and does not say how it stopped
            seen = self._gone()
        elif seen.state is not VmState.UNKNOWN:
            self._stop_reason = seen.reason
        for callback in self._callbacks:
            callback(seen)
