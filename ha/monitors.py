"""The seven monitors: a thread each, that looks every 10 s and keeps what it saw.

The interval is from start to start. A look that hangs lets its value grow old, and an old value is
replaced by the one that stands for "cannot tell": nobody decides on what was true minutes ago.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from ha.core.engine_health import judge, needs_health_page
from ha.core.facts import UNKNOWN_ENGINE, EngineStatus, Health, Vm
from ha.core.sighting import VmState
from ha.core.vm_lease import UNKNOWN_LEASE, VmLease
from ha.env.ports import BrokerEnv, EngineVm, WhiteboardFailed
from ha.env.time_ports import Clock, Flag, Threads

# The longest look that is not stuck: five network probes of 5 s, or a health page of 20 s.
LONGEST_LOOK_SECONDS = 30.0
FIRST_LOOK_SECONDS = 5.0
DOMAIN_DELAY_SECONDS = 10.0
LEASE_SECONDS = 1.0

T = TypeVar("T")
log = logging.getLogger(__name__)


class Monitor(Generic[T]):
    """One value, looked at again and again; `cannot_tell` stands for it when it is too old."""

    def __init__(
        self,
        name: str,
        look: Callable[[], T],
        *,
        first: T,
        cannot_tell: T,
        clock: Clock,
        threads: Threads,
        interval_seconds: float,
    ) -> None:
        self.name = name
        self._look = look
        self._value = first
        self._cannot_tell = cannot_tell
        self._clock = clock
        self._threads = threads
        self._interval_seconds = interval_seconds
        self._seen_at = clock.monotonic()
        self._due = threads.flag()
        self._stopping = threads.flag()
        self._looked = threads.flag()
        self._waiting: list[Flag] = []

    def start(self) -> None:
        """Look for the first time, in the monitor's thread."""
        self._threads.start(f"monitor-{self.name}", self._run)

    def stop(self) -> None:
        """Look no more; a look that is under way is not waited for."""
        self._stopping.set()
        self._due.set()

    def look_now(self) -> None:
        """Look again at once, or once more after the look that is under way."""
        self._due.set()

    def show(self, value: T) -> None:
        """Keep a value."""
        self._value, self._seen_at = value, self._clock.monotonic()

    def read(self) -> T:
        """Return the latest value; at the start wait up to 5 s for the first look."""
        self._looked.wait(FIRST_LOOK_SECONDS)
        age_seconds = self._clock.monotonic() - self._seen_at
        fresh = age_seconds <= LONGEST_LOOK_SECONDS + 2 * self._interval_seconds
        return self._value if fresh else self._cannot_tell

    def read_anew(self, limit_seconds: float) -> T:
        """Look again and return what that gives, or `cannot_tell` after so many seconds."""
        over = self._threads.flag()
        self._waiting.append(over)
        self._due.set()
        if over.wait(limit_seconds):
            return self._value
        if over in self._waiting:  # the look before it hangs: nobody waits for this one any more
            self._waiting.remove(over)
        return self._cannot_tell

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._due.clear()
            waiting, self._waiting = self._waiting, []  # this look is the one they asked for
            began = self._clock.monotonic()
            self.show(self._look())
            self._looked.set()
            for over in waiting:
                over.set()
            self._due.wait(max(0.0, began + self._interval_seconds - self._clock.monotonic()))


class EngineHealth:
    """The look of the engine's monitor, with what it must remember between two looks.

    `show` publishes at once what is known before the health page has been asked, which may take
    20 s: a VM that was just started must not pass for one that is down.
    """

    def __init__(self, engine_vm: EngineVm, health_page_ok: Callable[[], bool]) -> None:
        self._engine_vm = engine_vm
        self._health_page_ok = health_page_ok
        self._last_vm = Vm.DOWN
        self._was_good = False

    def look(self, show: Callable[[EngineStatus], None]) -> EngineStatus:
        """Look at the VM, ask the health page if it runs, and judge."""
        seen = self._engine_vm.sighting()
        page_ok = False
        if needs_health_page(seen):
            if self._last_vm is not Vm.UP:
                self._was_good = False
            _, early = judge(self._last_vm, seen, self._was_good)
            show(early)
            page_ok = self._health_page_ok()
            seen = self._engine_vm.sighting()  # it may have gone meanwhile
        self._last_vm, status = judge(self._last_vm, seen, page_ok)
        if seen.state is not VmState.UNKNOWN:
            self._was_good = status.health is Health.GOOD
        return status


class Monitors:
    """The monitors of one broker."""

    def __init__(self, env: BrokerEnv, interval_seconds: float) -> None:
        health = EngineHealth(env.engine_vm, env.probes.health_page_ok)

        def monitor(name: str, look: Callable[[], T], first: T, cannot_tell: T) -> Monitor[T]:
            return Monitor(
                name,
                look,
                first=first,
                cannot_tell=cannot_tell,
                clock=env.clock,
                threads=env.threads,
                interval_seconds=interval_seconds,
            )

        self._network = monitor("network", env.probes.network, 1.0, 0.0)
        self._bridge = monitor("mgmt-bridge", env.probes.bridge_up, False, False)
        self._memory = monitor("mem-free", env.probes.memory_free_mib, None, None)
        self._cpu = monitor("cpu-load-no-engine", env.probes.cpu_load_without_engine, None, None)
        self._domain = monitor("storage-domain", lambda: domain_valid(env), False, False)
        self._engine: Monitor[EngineStatus] = monitor(
            "engine-health",
            lambda: health.look(self._engine.show),
            UNKNOWN_ENGINE,
            UNKNOWN_ENGINE,
        )
        self._vm_lease: Monitor[VmLease] = monitor(
            "vm-lease", env.vm_lease.look, UNKNOWN_LEASE, UNKNOWN_LEASE
        )
        self._all = (
            self._network, self._bridge, self._memory, self._cpu, self._domain, self._engine,
            self._vm_lease,
        )  # fmt: skip
        self._engine_vm = env.engine_vm

    def start(self) -> None:
        """Start all, and let libvirt's events wake the engine's monitor."""
        for monitor in self._all:
            monitor.start()
        self._engine_vm.watch(lambda _: self._engine.look_now())

    def stop(self) -> None:
        """Stop all."""
        for monitor in self._all:
            monitor.stop()

    def values(self) -> Mapping[str, object]:
        """Return all values by upstream's names, ready for JSON."""
        return {
            "network": self._network.read(),
            "bridge": self._bridge.read(),
            "mem-free": self._memory.read(),
            "cpu-load": self._cpu.read(),
            "engine-health": self._engine.read().as_dict(),
            "storage-domain": self._domain.read(),
            # Read anew: whether to start the VM is decided by what is true now, not 10 s ago.
            "vm-lease": self._vm_lease.read_anew(LEASE_SECONDS).as_dict(),
        }


def domain_valid(env: BrokerEnv) -> bool:
    """Whether the storage domain can be read within 10 s."""
    began = env.clock.monotonic()
    try:
        env.read_domain()
    except WhiteboardFailed as trouble:
        log.error("The hosted engine's storage domain cannot be read: %s", trouble)
        return False
    took_seconds = env.clock.monotonic() - began
    if took_seconds > DOMAIN_DELAY_SECONDS:
        log.error("The hosted engine's storage domain took %.1f s to answer", took_seconds)
    return took_seconds <= DOMAIN_DELAY_SECONDS
