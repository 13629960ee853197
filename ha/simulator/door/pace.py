"""How virtual time passes for who is outside of it: with their waits, or with a clock's."""

import threading
import time
from collections.abc import Callable

from ha.simulator.cluster import Cluster
from ha.simulator.command import Running

LOOK_SECONDS = 0.02


def nothing() -> None:
    """Do nothing."""


class Stepped:
    """Virtual time passes while somebody waits for something in it, and stands still otherwise.

    `before_time` and `after_time` are called around each such while, with the lock held.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.lock = threading.RLock()
        self.before_time: Callable[[], None] = nothing
        self.after_time: Callable[[], None] = nothing
        self.cluster = cluster
        self.ends = threading.Event()

    def finish_aside(self, start: Callable[[], Running], limit_seconds: float) -> Running:
        """Start a command and wait until it has ended, with the time that others let pass."""
        return _awaited(self, start, limit_seconds)

    def finish(self, start: Callable[[], Running], limit_seconds: float) -> Running:
        """Start a command and let it end, or the time be over. Raises SimulationError."""
        with self.lock:
            self.before_time()
            running = start()
            running.over.wait(limit_seconds)
            self.cluster.run_until(self.cluster.now)
            self.after_time()
            return running

    def sleep(self, seconds: float) -> None:
        """Let so much time pass. Raises SimulationError."""
        with self.lock:
            self.before_time()
            self.cluster.run_until(self.cluster.now + seconds)
            self.after_time()

    def stop(self) -> None:
        """Let nobody wait aside any more: who steps the time ends it."""
        self.ends.set()


class Paced:
    """Virtual time passes as a clock's does, `speed` times as fast."""

    def __init__(self, cluster: Cluster, speed: float) -> None:
        self.lock = threading.RLock()
        self.before_time: Callable[[], None] = nothing
        self.after_time: Callable[[], None] = nothing
        self.cluster = cluster
        self._speed = speed
        self.ends = threading.Event()

    def run(self) -> None:
        """Let time pass until `stop`. Raises SimulationError."""
        began, virtual = time.monotonic(), self.cluster.now
        try:
            while not self.ends.wait(LOOK_SECONDS):
                with self.lock:
                    self.before_time()
                    passed = (time.monotonic() - began) * self._speed
                    self.cluster.run_until(virtual + passed)
                    self.after_time()
        finally:
            self.stop()

    def stop(self) -> None:
        """End `run`."""
        self.ends.set()

    def finish(self, start: Callable[[], Running], limit_seconds: float) -> Running:
        """Start a command and wait until it has ended, or the time is over."""
        return _awaited(self, start, limit_seconds)

    def finish_aside(self, start: Callable[[], Running], limit_seconds: float) -> Running:
        """Do the same: time passes anyhow."""
        return _awaited(self, start, limit_seconds)

    def sleep(self, seconds: float) -> None:
        """Wait until so much time has passed."""
        self.ends.wait(seconds / self._speed)


Pace = Stepped | Paced


def _awaited(pace: Pace, start: Callable[[], Running], limit_seconds: float) -> Running:
    """Start a command; wait until it has ended, the time is over, or the pace has ended."""
    with pace.lock:
        running = start()
        until = pace.cluster.now + limit_seconds
    while not pace.ends.wait(LOOK_SECONDS):
        with pace.lock:
            if running.over.is_set() or pace.cluster.now >= until:
                break
    return running
