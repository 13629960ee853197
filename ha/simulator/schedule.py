"""Virtual time: the product's threads run one at a time, in an order that is always the same.

Theory of operation. Every simulated thread (a task) has an OS thread of its own, so that the
product stays as it is; but only the one with the baton runs. Whoever has to wait takes the next
event off the queue (by time, then by order of entry), sets the clock to it, and passes the baton to
the task that it wakes. An alarm is a call without a thread, made by whoever takes it off the queue:
it must not wait. A process that is killed raises Killed in each of its tasks, at the wait where it
stands and at everything that it asks of the simulator from then on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from math import inf

from ha.simulator.processes import (
    Alarm,
    Boot,
    Catching,
    Event,
    Killed,
    Process,
    SimulationError,
    Task,
    TooLong,
    Worker,
    give_back,
    take_worker,
)

LEAST_SECONDS = 1e-6
"""No wait is shorter: who waits for a remainder that no clock can show would do so for ever."""


class SimFlag:
    """A flag in virtual time."""

    __slots__ = ("_schedule", "_up", "waiting")

    def __init__(self, schedule: "Schedule") -> None:
        self._schedule = schedule
        self._up = False
        self.waiting: list[Task] = []

    def set(self) -> None:
        """Raise it, and wake who waits."""
        self._schedule.check()
        self._up = True
        self._schedule.signal(self)

    def clear(self) -> None:
        """Lower it."""
        self._up = False

    def is_set(self) -> bool:
        """Whether it is raised."""
        return self._up

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is raised, so long at most (None: for ever); return whether it is."""
        if self._up:
            self._schedule.check()
            return True
        return self._schedule.wait_for(self, seconds)


class Schedule:
    """The clock and the queue. Used by one thread from outside, and by its tasks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.switches = 0
        self._main = Task("main", None, Worker())
        self.current: Task | None = self._main
        self._queue: list[tuple[float, float, Event, int]] = []
        self._order = count()
        self._tasks: list[Task] = []
        self._failure: BaseException | None = None

    def run_until(self, when: float) -> None:
        """Let everything happen that is due until then, from outside.

        Raises SimulationError from the first error that ended a task or an alarm.
        """
        self._park(self._main, max(when, self.now), inf)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise SimulationError(f"at {self.now:.3f} s: {failure!r}") from failure

    def close(self) -> None:
        """End all tasks."""
        while self._tasks:
            for task in self._tasks:
                for process in task.visits:
                    process.alive = False
                task.boot = None
                self._wake(task)
            self._park(self._main, self.now, inf)
        self._queue.clear()

    def at(self, when: float, call: Callable[[], None], boot: Boot | None = None) -> Alarm:
        """Make a call at a time; it must not wait."""
        alarm = Alarm(call, boot)
        heappush(self._queue, (max(when, self.now), next(self._order), alarm, 0))
        return alarm

    def after(self, seconds: float, call: Callable[[], None], boot: Boot | None = None) -> Alarm:
        """Make a call in so many seconds."""
        return self.at(self.now + max(LEAST_SECONDS, seconds), call, boot)

    def spawn(self, process: Process, name: str, target: Callable[[], None]) -> None:
        """Run it in a new task of a process, from now on."""
        worker = take_worker()
        task = Task(name, process, worker)
        worker.job = lambda: self._live(task, target)
        self._tasks.append(task)
        self._wake(task)

    def kill(self, process: Process) -> None:
        """End a process: nothing of it runs on."""
        process.alive = False
        for task in self._tasks:
            if process in task.visits:
                self._wake(task)

    def thaw(self, boot: Boot) -> None:
        """Let a frozen host go on with what became due meanwhile."""
        boot.frozen = False
        held, boot.held = boot.held, []
        for what, token in held:
            heappush(self._queue, (self.now, next(self._order), what, token))

    def check(self) -> None:
        """Raise Killed in a task of a process that was killed."""
        if self.current is not None:
            for process in self.current.visits:
                if not process.alive:
                    raise Killed(process.name)

    def sleep(self, seconds: float) -> None:
        """Wait, in a task. Raises Killed, TooLong."""
        task = self._asking()
        until = self.now + max(LEAST_SECONDS, seconds)
        if until < task.limit and (not self._queue or until < self._queue[0][0]):
            self.now = until  # nothing happens before
            return
        self._park(task, until, next(self._order))
        self._resumed(task)

    def flag(self) -> SimFlag:
        """Return a new flag."""
        return SimFlag(self)

    @contextmanager
    def visit(self, process: Process, limit_seconds: float) -> Iterator[None]:
        """Run code of another process in this task; raises TooLong at a wait past the limit."""
        task = self._asking()
        before, task.limit = task.limit, min(task.limit, self.now + limit_seconds)
        task.visits.append(process)
        try:
            yield
        finally:
            task.visits.pop()
            task.limit = before

    def wait_for(self, flag: SimFlag, seconds: float | None) -> bool:
        """Wait for a flag, in a task; None: for ever. Raises Killed, TooLong."""
        task = self._asking()
        flag.waiting.append(task)
        longest_seconds = inf if seconds is None else max(LEAST_SECONDS, seconds)
        self._park(task, self.now + longest_seconds, next(self._order))
        if not task.signalled:
            flag.waiting.remove(task)
        self._resumed(task)
        return task.signalled

    def signal(self, flag: SimFlag) -> None:
        """Wake who waits for a flag."""
        for task in flag.waiting:
            task.signalled = True
            self._wake(task)
        flag.waiting.clear()

    def failed(self, error: BaseException) -> None:
        """Keep the first error that nobody expected, and end the run with it."""
        self._failure = self._failure or error

    def _asking(self) -> Task:
        self.check()
        if self.current is None:
            raise SimulationError("an alarm must not wait")
        return self.current

    def _resumed(self, task: Task) -> None:
        self.check()
        if self.now >= task.limit and not task.signalled:
            raise TooLong

    def _wake(self, task: Task) -> None:
        heappush(self._queue, (self.now, next(self._order), task, task.token))

    def _park(self, task: Task, until: float, order: float) -> None:
        """Give the baton away until this task is due."""
        task.token += 1
        task.signalled = False
        until = min(until, task.limit)
        if until < inf:
            heappush(self._queue, (until, order, task, task.token))
        due = self._next()
        if due is not task:
            self.switches += 1
            due.worker.baton.release()
            task.worker.baton.acquire()
        self.current = task

    def _next(self) -> Task:
        while True:
            when, _, what, token = heappop(self._queue)
            if what.token != token:
                continue
            boot = what.boot
            if boot is not None and boot.frozen:
                boot.held.append((what, token))
                continue
            self.now = when
            if isinstance(what, Task):
                return what
            if isinstance(what, Alarm) and not (boot is not None and boot.over):
                what.token = -1
                self.current = None
                with Catching(self.failed):
                    what.call()
                if self._failure is not None:
                    return self._main

    def _live(self, task: Task, target: Callable[[], None]) -> None:
        """A task's life, in its worker; ends with the baton given away."""
        self.current = task
        with Catching(self.failed):
            self.check()
            target()
        task.token = -1
        self._tasks.remove(task)
        due = self._main if self._failure is not None else self._next()
        self.switches += 1
        give_back(task.worker)
        due.worker.baton.release()
