"""The engine VM and libvirt in virtual time: what runs where, and what each host's libvirt says.

libvirt goes on with a start whoever asked for it, and answers nothing about the VM while the start
waits for its lease, as the real one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ha.core.sighting import StopReason, VmSighting, VmState
from ha.env.ports import VmLocked, VmMissing, VmStartFailed, VmTrouble
from ha.simulator.leases import Lease, Request
from ha.simulator.processes import Boot, Process
from ha.simulator.sanlock import IDLIVE, OK, POLL_SECONDS, Sanlock
from ha.simulator.schedule import Schedule
from ha.simulator.storage import StoragePath

PREPARE_SECONDS = 0.5
SHUTDOWN_SECONDS = 5.0
KILL_GRACE_SECONDS = 40.0
"""sanlock's, between SIGTERM, which an emulator without storage does not obey, and SIGKILL."""
FROM_MEDIUM = re.compile(
    r"<disk [^>]*device=[\"']cdrom(?:(?!</disk>).)*<boot order=[\"']1[\"']", re.S
)
LEASE_HELD = "Failed to acquire lock: Lease is held by another host"

Listener = Callable[[VmSighting], None]


@dataclass(slots=True)
class Engine:
    """What is on the engine VM's disk, and what is told of the VM."""

    lease: Lease
    boot_seconds: float
    health_seconds: float
    broken: bool = False
    """Its service does not come up, wherever the VM runs."""
    boots: int = 0


class Vm:
    """The VM on one host, from the start of its emulator to its end."""

    def __init__(self, number: int, state: VmState, xml: str = "") -> None:
        self.number = number
        self.state = state
        self.xml = xml
        """As it was started; empty: whoever started it kept none."""
        self.answers = False
        """Whether its network is up."""
        self.healthy = False
        """Whether its service would answer, were it not stopped."""
        self.due_at = 0.0
        """When it is as far as that, in seconds since the beginning."""
        self.sick = False
        self.hangs = False
        """It does not obey its power button."""


class Start:
    """A start under way in libvirt."""

    def __init__(self, schedule: Schedule, xml: str) -> None:
        self.over = schedule.flag()
        self.xml = xml
        self.refusal: VmTrouble | None = None
        self.cut = False


@dataclass(frozen=True, slots=True)
class Parts:
    """What a host's libvirt works with.

    `told` gets what happens to the VM, in words; `act` each request, and whose it is.
    """

    schedule: Schedule
    boot: Boot
    sanlock: Sanlock
    path: StoragePath
    engine: Engine
    told: Callable[[str], None]
    act: Callable[[Process, str], None]


class Libvirt:
    """One host's libvirt, from boot to boot."""

    def __init__(self, parts: Parts) -> None:
        self._schedule = parts.schedule
        self.parts = parts
        self._engine = parts.engine
        self.act = parts.act
        self.vm: Vm | None = None
        self.starting: Start | None = None
        self.answers = True
        self.start_fails = False
        self.listeners: list[Listener] = []

    @property
    def running(self) -> bool:
        """Whether the VM executes here."""
        return self.vm is not None and self.vm.state not in (VmState.DOWN, VmState.PAUSED)

    def create(self, xml: str = "", *, paused: bool) -> Start:
        """Begin to start the VM."""
        start = self.starting = Start(self._schedule, xml)
        self._after(PREPARE_SECONDS, lambda: self._prepare(start, paused))
        return start

    def _prepare(self, start: Start, paused: bool) -> None:
        if self.start_fails:
            self._refuse(start, VmStartFailed("internal error: the emulator ended at once"))
        elif start.cut:
            self._refuse(start, VmLocked("Failed to acquire lock: the emulator is gone"))
        elif not self.parts.path.works:
            self._after(POLL_SECONDS, lambda: self._prepare(start, paused))
        else:
            request = self.parts.sanlock.acquire(self._engine.lease, self.lease_lost)
            self._await(request, start, paused)

    def _await(self, request: Request, start: Start, paused: bool) -> None:
        if not request.over.is_set():
            self._after(POLL_SECONDS, lambda: self._await(request, start, paused))
        elif request.code == OK and start.cut:
            self.parts.sanlock.release(self._engine.lease, self.lease_lost)
            self._refuse(start, VmLocked("Failed to acquire lock: the emulator is gone"))
        elif request.code == OK:
            self.starting = None
            self.appear(start.xml, paused=paused)
            start.over.set()
        elif request.code == IDLIVE:
            self._refuse(start, VmLocked(LEASE_HELD))
        else:
            self._refuse(start, VmStartFailed(f"sanlock refuses the lease: {request.code}"))

    def _refuse(self, start: Start, refusal: VmTrouble) -> None:
        start.refusal = refusal
        self.starting = None
        start.over.set()

    def appear(self, xml: str = "", *, paused: bool = False, arrived: Vm | None = None) -> None:
        """Have the VM run here: it boots, unless it arrived from another host."""
        if arrived is not None:
            self.vm = arrived
        else:
            self._engine.boots += 1
            self.vm = Vm(self._engine.boots, VmState.PAUSED if paused else VmState.UP, xml)
            self.vm.due_at = self._schedule.now + self._engine.boot_seconds
        self._boot_on(self.vm)
        self.parts.told("paused" if paused else "runs")
        self.tell(VmSighting(self.vm.state))

    def _boot_on(self, vm: Vm) -> None:
        step = self._healthy if vm.answers else self._booted
        if not vm.healthy:
            self._schedule.at(vm.due_at, lambda: step(vm), self.parts.boot)

    def _booted(self, vm: Vm) -> None:
        from_disk = not FROM_MEDIUM.search(vm.xml)  # else it is another system
        if self.vm is vm and not vm.answers and from_disk:
            vm.answers = True
            vm.due_at = self._schedule.now + self._engine.health_seconds
            self._boot_on(vm)

    def _healthy(self, vm: Vm) -> None:
        if self.vm is vm and not vm.healthy:
            vm.healthy = True
            if not self._engine.broken:
                self.parts.told("the engine answers")

    def leave_to(self, other: "Libvirt") -> None:
        """Let the VM go to another host, with its lease."""
        vm, self.vm = self.vm, None
        if vm is not None:
            self.parts.sanlock.hand_over(
                self._engine.lease, self.lease_lost, other.parts.sanlock, other.lease_lost
            )
            other.appear(arrived=vm)
            self.parts.told("stopped: migrated")
            self.tell(VmSighting(VmState.DOWN, StopReason.MIGRATED))

    def press_power_button(self) -> None:
        """Ask the VM's system to shut down."""
        vm = self.vm
        if vm is None:
            raise VmMissing("Virtual machine HostedEngine does not exist")
        if vm.hangs or vm.state is not VmState.UP:
            return
        vm.state = VmState.POWERING_DOWN
        self.parts.told("shuts down")
        self.tell(VmSighting(vm.state))
        self._after(SHUTDOWN_SECONDS, lambda: self._shut_down(vm))

    def _shut_down(self, vm: Vm) -> None:
        if self.vm is vm:
            self.end(StopReason.SHUTDOWN)

    def end(self, reason: StopReason) -> None:
        """Have the VM stop, and give its lease back."""
        if self.vm is None:
            return
        self.vm = None
        self.parts.sanlock.release(self._engine.lease, self.lease_lost)
        self.parts.told(f"stopped: {reason.value}")
        self.tell(VmSighting(VmState.DOWN, reason))

    def vanish(self) -> None:
        """Have the VM be gone without a word, as one that ended while libvirt was restarted."""
        if self.vm is not None:
            self.vm = None
            self.parts.sanlock.release(self._engine.lease, self.lease_lost)
            self.parts.told("is gone")

    def lease_lost(self) -> None:
        """End the VM, as sanlock does when its lease is lost."""
        vm = self.vm
        if self.parts.path.works:
            self.end(StopReason.SHUTDOWN)
        else:
            self._after(KILL_GRACE_SECONDS, lambda: self._killed(vm))

    def _killed(self, vm: Vm | None) -> None:
        if vm is not None and self.vm is vm:
            self.end(StopReason.SHUTDOWN)

    def fall_silent(self) -> None:
        """Answer nobody from now on; the VM runs on."""
        self.tell(VmSighting(VmState.UNKNOWN))
        self.answers = False

    def answer_again(self) -> None:
        """Answer again."""
        self.answers = True
        self.tell(VmSighting(VmState.MISSING if self.vm is None else self.vm.state))

    def tell(self, seen: VmSighting) -> None:
        """Tell every listener, if libvirt answers."""
        if self.answers:
            for listener in list(self.listeners):
                listener(seen)

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self._schedule.after(seconds, call, self.parts.boot)
