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
        self._cluster = cluster

    def finish(self, start: Callable[[], Running], limit_seconds: float) -> Running:
        """Start a command and let it end, or the time be over. Raises SimulationError."""
        with self.lock:
            self.before_time()
            running = start()
            running.over.wait(limit_seconds)
            self._cluster.run_until(self._cluster.now)
            self.after_time()
            return running

    def sleep(self, seconds: float) -> None:
        """Let so much time pass. Raises SimulationError."""
        with self.lock:
            self.before_time()
            self._cluster.run_until(self._cluster.now + seconds)
            self.after_time()

    def stop(self) -> None:
        """Do nothing: who steps the time ends it."""


class Paced:
    """Virtual time passes as a clock's does, `speed` times as fast."""

    def __init__(self, cluster: Cluster, speed: float) -> None:
        self.lock = threading.RLock()
        self.before_time: Callable[[], None] = nothing
        self.after_time: Callable[[], None] = nothing
        self._cluster = cluster
        self._speed = speed
        self._ends = threading.Event()

    def run(self) -> None:
        """Let time pass until `stop`. Raises SimulationError."""
        began, virtual = time.monotonic(), self._cluster.now
        try:
            while not self._ends.wait(LOOK_SECONDS):
                with self.lock:
                    self.before_time()
                    passed = (time.monotonic() - began) * self._speed
                    self._cluster.run_until(virtual + passed)
                    self.after_time()
        finally:
            self.stop()

    def stop(self) -> None:
        """End `run`."""
        self._ends.set()

    def finish(self, start: Callable[[], Running], limit_seconds: float) -> Running:
        """Start a command and wait until it has ended, or the time is over."""
        with self.lock:
            running = start()
            until = self._cluster.now + limit_seconds
        while not self._ends.wait(LOOK_SECONDS):
            with self.lock:
                if running.over.is_set() or self._cluster.now >= until:
                    break
        return running

    def sleep(self, seconds: float) -> None:
        """Wait until so much time has passed."""
        self._ends.wait(seconds / self._speed)


Pace = Stepped | Paced
