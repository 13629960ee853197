"""Clock, threads and bell of a simulated host."""

from collections.abc import Callable

from ha.env.time_ports import Flag
from ha.simulator.processes import Process
from ha.simulator.schedule import Schedule

EPOCH = 1_767_225_600.0
"""Wall time at the beginning of a simulation: the first second of 2026, in UTC."""


class HostTime:
    """A host's two clocks against the simulation's: each may be off and drift."""

    def __init__(self, schedule: Schedule, uptime_seconds: float) -> None:
        self._schedule = schedule
        self._since = schedule.now
        self._monotonic = uptime_seconds
        self._rate = 1.0
        self._wall_off = 0.0

    def monotonic(self) -> float:
        """Seconds since about the boot."""
        return self._monotonic + (self._schedule.now - self._since) * self._rate

    def wall(self) -> float:
        """Seconds since 1970 as this host has them."""
        return EPOCH + self._schedule.now + self._wall_off

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self._wall_off += seconds

    def drift(self, parts_per_million: float) -> None:
        """Let the monotonic clock run so much faster from now on."""
        self._monotonic, self._since = self.monotonic(), self._schedule.now
        self._rate = 1.0 + parts_per_million / 1e6

    def real(self, seconds: float) -> float:
        """How long a wait of so many of this host's seconds lasts."""
        return seconds / self._rate


class SimClock:
    """The clock of a process."""

    def __init__(self, schedule: Schedule, time: HostTime) -> None:
        self._schedule = schedule
        self._time = time
        self.monotonic = time.monotonic
        self.wall = time.wall

    def sleep(self, seconds: float) -> None:
        """Wait this long."""
        self._schedule.sleep(self._time.real(seconds))


class SimThreads:
    """The threads of a process; they end with it."""

    def __init__(self, schedule: Schedule, process: Process) -> None:
        self._schedule = schedule
        self._process = process

    def start(self, name: str, target: Callable[[], None]) -> None:
        """Run it in a thread of its own."""
        self._schedule.check()
        self._schedule.spawn(self._process, name, target)

    def flag(self) -> Flag:
        """Return a new flag."""
        return self._schedule.flag()


class SimBell:
    """The bell of a simulated agent: several rings before a wait are one."""

    def __init__(self, schedule: Schedule) -> None:
        self._rung = schedule.flag()
        self.stopped = False

    def ring(self) -> None:
        """Wake the loop."""
        self._rung.set()

    def stop(self) -> None:
        """Wake the loop and have it end."""
        self.stopped = True
        self.ring()

    def wait(self, seconds: float) -> bool:
        """Wait this long or until rung."""
        rung = self._rung.wait(max(0.0, seconds))
        self._rung.clear()
        return rung
