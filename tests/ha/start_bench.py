"""An executor on a fake VM, and a start of it that waits."""

import queue
import threading

from ha.core.actions import Action
from ha.core.engine_health import StartPhase
from ha.core.facts import Monotonic
from ha.env.clock import HostClock
from ha.env.ports import EnvError, VmLocked, VmTrouble
from ha.env.threads import HostThreads
from ha.execute import Executor
from tests.ha.fakes import FakeEngineVm, FakeFiles


class Bench:
    """An executor on a fake VM; `rings` gets one entry when a start has ended."""

    def __init__(self) -> None:
        self.vm = FakeEngineVm()
        self.files = FakeFiles()
        self.now = 100
        self.rings: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.executor = Executor(
            self.vm,
            self.files.vm_xml,
            lambda: Monotonic(self.now),
            lambda: self.rings.put(None),
            clock=HostClock(),
            threads=HostThreads(),
        )

    def start(self) -> StartPhase:
        assert self.executor.perform(Action.START_VM) is True
        self.rings.get(timeout=10)
        return self.executor.start.phase


class SlowStart:
    """A start that waits until it is let go, or until its power is cut."""

    def __init__(self, bench: Bench) -> None:
        self.over = threading.Event()
        self.trouble: EnvError | None = None
        self.ends_when_cut = True
        bench.vm.start = self.start  # type: ignore[method-assign]
        bench.vm.power_off = self.power_off  # type: ignore[method-assign]
        self.cuts = 0
        self.begun: queue.SimpleQueue[str] = queue.SimpleQueue()

    def start(self, xml: str) -> None:
        self.begun.put(xml)
        assert self.over.wait(10)
        if self.trouble is not None:
            raise self.trouble

    def power_off(self, **_: bool) -> None:
        self.cuts += 1
        if not self.ends_when_cut:
            raise VmTrouble("no emulator is found")
        self.trouble = VmLocked("Failed to acquire lock")
        self.over.set()
