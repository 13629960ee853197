"""A service under systemd, in virtual time: started, stopped, and started again when it ends."""

from collections.abc import Callable
from dataclasses import dataclass

from ha.simulator.processes import Boot, Process
from ha.simulator.schedule import Schedule, SimFlag

FAILED = 1


@dataclass(frozen=True, slots=True)
class Manner:
    """What the unit's file says."""

    name: str
    restart_seconds: float
    restart_always: bool
    stop_limit_seconds: float


AGENT = Manner("ovirt-ha-agent", 10.0, restart_always=True, stop_limit_seconds=120.0)
BROKER = Manner("ovirt-ha-broker", 2.0, restart_always=False, stop_limit_seconds=60.0)


@dataclass(slots=True)
class Run:
    """One life of the service: `stop` asks its process to end, `over` is up when it has.

    `since` is when it began, in seconds since the beginning.
    """

    process: Process
    over: SimFlag
    since: float
    stop: Callable[[], None] = lambda: None
    stopping: bool = False


Main = Callable[[Run], int]
"""Runs in the service's process until it ends; returns the exit code."""


class Unit:
    """One service on one host. `told` gets what happens to it, in words."""

    def __init__(
        self, schedule: Schedule, manner: Manner, host: str, main: Main, told: Callable[[str], None]
    ) -> None:
        self._schedule = schedule
        self._host = host
        self._main = main
        self._told = told
        self._boot: Boot | None = None
        self.manner = manner
        self.run: Run | None = None
        self.enabled = True
        self.wanted = False
        """Whether systemd is to have it running now."""

    @property
    def active(self) -> bool:
        """Whether it runs or is about to."""
        return self.run is not None or self.wanted

    def boot(self, boot: Boot) -> None:
        """Begin a life of the host, in which it is started if it is enabled."""
        self._boot = boot
        self.run, self.wanted = None, False
        if self.enabled:
            self.start()

    def start(self) -> None:
        """Start it, if it does not run; one that is being stopped is started when it has ended."""
        self.wanted = True
        if self.run is None and self._boot is not None and not self._boot.over:
            process = Process(self.manner.name, self._host, self._boot)
            self.run = run = Run(process, self._schedule.flag(), self._schedule.now)
            self._schedule.spawn(process, self.manner.name, lambda: self._live(run))

    def stop(self) -> None:
        """Ask it to end, and end it when it has not in time; it is not started again."""
        self.wanted = False
        run = self.run
        if run is not None:
            run.stopping = True
            run.stop()
            limit = self.manner.stop_limit_seconds
            self._schedule.after(limit, lambda: self._overdue(run), self._boot)

    def kill(self) -> None:
        """End it at once; systemd notices."""
        if self.run is not None:
            self._schedule.kill(self.run.process)

    def _overdue(self, run: Run) -> None:
        if not run.over.is_set():
            self._told(f"{self.manner.name} did not end in time and is killed")
            self._schedule.kill(run.process)

    def _live(self, run: Run) -> None:
        code = FAILED
        try:
            code = self._main(run)
        finally:
            self._schedule.after(0.0, lambda: self._ended(run, code), self._boot)

    def _ended(self, run: Run, code: int) -> None:
        self._schedule.kill(run.process)
        run.over.set()
        if self.run is run:
            self.run = None
        if not self.wanted:
            self._told(f"{self.manner.name} has stopped")
        elif run.stopping:
            self._told(f"{self.manner.name} has stopped and is started again")
            self.start()
        elif self.manner.restart_always or code:
            self._told(f"{self.manner.name} ended; systemd starts it again")
            self._schedule.after(self.manner.restart_seconds, self._again, self._boot)

    def _again(self) -> None:
        if self.wanted:
            self.start()
