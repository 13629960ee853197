"""What runs in virtual time: processes, their tasks, and the OS threads beneath them."""

import os
import threading
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Protocol

STACK_BYTES = 512 * 1024


class Killed(BaseException):
    """Raised in a task of a process that was killed; no code of the product catches it."""


class TooLong(BaseException):
    """Raised in a task that waits past the limit of the request that it makes."""


class SimulationError(Exception):
    """Raised when the simulation itself cannot go on."""


class Event(Protocol):
    """What can be due: a task or an alarm. What was queued under another token is void."""

    token: int
    boot: "Boot | None"


class Boot:
    """A host from power-on to power-off: what of it is frozen as one, and ends as one."""

    __slots__ = ("frozen", "held", "over")

    def __init__(self) -> None:
        self.over = False
        self.frozen = False
        self.held: list[tuple[Event, int]] = []


class Process:
    """What is killed as one."""

    __slots__ = ("alive", "boot", "host", "name")

    def __init__(self, name: str, host: str, boot: Boot) -> None:
        self.name = name
        self.host = host
        self.boot = boot
        self.alive = True


class Alarm:
    """A call at a time; with a `boot` it is held while that is frozen, and void when over."""

    __slots__ = ("boot", "call", "token")

    def __init__(self, call: Callable[[], None], boot: Boot | None) -> None:
        self.call = call
        self.boot = boot
        self.token = 0

    def cancel(self) -> None:
        """Do not make the call."""
        self.token = -1


class Task:
    """A simulated thread; `visits` are the processes whose code it runs: its own, then others."""

    __slots__ = ("boot", "limit", "name", "signalled", "token", "visits", "worker")

    def __init__(self, name: str, process: Process | None, worker: "Worker") -> None:
        self.name = name
        self.visits = [process] if process else []
        self.boot = process.boot if process else None
        self.worker = worker
        self.limit = inf
        self.signalled = False
        self.token = 0


class Worker:
    """An OS thread that runs tasks, one after the other; it has the baton when it runs."""

    __slots__ = ("baton", "job")

    def __init__(self) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.job: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Run a job each time that the baton is passed."""
        before = threading.stack_size(STACK_BYTES)
        try:
            threading.Thread(target=self._run, name="simulated", daemon=True).start()
        finally:
            threading.stack_size(before)

    def _run(self) -> None:
        while True:
            self.baton.acquire()
            self.job()


# Starting an OS thread costs as much as a turn of an agent, so they are kept.
_IDLE: list[Worker] = []
os.register_at_fork(after_in_child=_IDLE.clear)


def take_worker() -> Worker:
    """Return a worker that waits for its baton."""
    if _IDLE:
        return _IDLE.pop()
    worker = Worker()
    worker.start()
    return worker


def give_back(worker: Worker) -> None:
    """Let somebody else have a worker; it may still be passing the baton on."""
    _IDLE.append(worker)


class Catching:
    """Takes an error of a task or an alarm to `failed`; Killed is none."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        del kind, trace
        if error is not None and not isinstance(error, Killed):
            self._failed(error)
        return True
