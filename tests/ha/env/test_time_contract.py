"""Clock, threads, flags and bell: one contract for the host's own and the simulator's."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from ha.bell import Bell, QueueBell
from ha.env.clock import HostClock
from ha.env.threads import HostThreads
from ha.env.time_ports import Clock, Threads
from ha.simulator.processes import Boot, Process
from ha.simulator.schedule import Schedule
from ha.simulator.time_sim import HostTime, SimBell, SimClock, SimThreads

IMPATIENT_SECONDS = 10.0
# Of a wait that must end by itself, and of one that must be ended.
SHORT_SECONDS, LONG_SECONDS = 0.05, 3600.0


class World(Protocol):
    """The time of a process; `bell` is a new one."""

    clock: Clock
    threads: Threads

    def bell(self) -> Bell:
        """Return a new bell."""

    def run(self, call: Callable[[], object]) -> object:
        """Have the process make a call, and return what it gives."""


class RealWorld:
    """This process."""

    def __init__(self) -> None:
        self.clock = HostClock()
        self.threads = HostThreads()
        self.bell = QueueBell

    def run(self, call: Callable[[], object]) -> object:
        return call()


class SimulatedWorld:
    """A process in virtual time, on a host whose clock is off and drifts."""

    def __init__(self) -> None:
        self.schedule = Schedule()
        time = HostTime(self.schedule, uptime_seconds=1000.0)
        time.drift(200_000)
        time.jump(86_400)
        self._process = Process("test", "host1", Boot())
        self.clock = SimClock(self.schedule, time)
        self.threads = SimThreads(self.schedule, self._process)

    def bell(self) -> Bell:
        return SimBell(self.schedule)

    def run(self, call: Callable[[], object]) -> object:
        given: list[object] = []
        self.schedule.spawn(self._process, "test", lambda: given.append(call()))
        self.schedule.run_until(self.schedule.now + 2 * LONG_SECONDS)
        [result] = given
        return result


@pytest.fixture(params=["real", "simulated"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "real":
        yield RealWorld()
    else:
        simulated = SimulatedWorld()
        yield simulated
        simulated.schedule.close()


@pytest.mark.parametrize("seconds", [0.01, 0.0, -1.0])
def test_both_clocks_go_on_by_a_wait_and_never_back(world: World, seconds: float) -> None:
    def body() -> bool:
        monotonic, wall = world.clock.monotonic(), world.clock.wall()
        world.clock.sleep(seconds)
        passed = world.clock.monotonic() - monotonic
        # A clock's ticks and a float's digits are no less time.
        return passed >= max(0.0, seconds) - 1e-6 and world.clock.wall() >= wall

    assert world.run(body)


def test_the_wall_clock_counts_from_1970(world: World) -> None:
    assert world.clock.wall() > 1_700_000_000


def test_a_flag_is_down_until_it_is_raised_and_after_it_was_lowered(world: World) -> None:
    def body() -> list[bool]:
        flag = world.threads.flag()
        seen = [flag.is_set(), flag.wait(0.0), flag.wait(SHORT_SECONDS)]
        flag.set()
        flag.set()
        seen += [flag.is_set(), flag.wait(0.0), flag.wait(), flag.wait(LONG_SECONDS)]
        flag.clear()
        return [*seen, flag.is_set(), flag.wait(SHORT_SECONDS)]

    assert world.run(body) == [False] * 3 + [True] * 4 + [False] * 2


def test_all_who_wait_for_a_flag_are_woken(world: World) -> None:
    def body() -> list[bool]:
        flag, woken, told = world.threads.flag(), world.threads.flag(), list[bool]()

        def wait() -> None:
            told.append(flag.wait(LONG_SECONDS))
            if len(told) == 3:
                woken.set()

        for number in range(3):
            world.threads.start(f"waits-{number}", wait)
        world.clock.sleep(SHORT_SECONDS)
        flag.set()
        assert woken.wait(IMPATIENT_SECONDS)
        return told

    assert world.run(body) == [True] * 3


def test_a_thread_does_not_hold_who_starts_it(world: World) -> None:
    def body() -> list[str]:
        said: queue.SimpleQueue[str] = queue.SimpleQueue()
        may_go, over = world.threads.flag(), world.threads.flag()

        def work() -> None:
            may_go.wait()
            said.put("thread")
            over.set()

        world.threads.start("works", work)
        said.put("starter")
        may_go.set()
        assert over.wait(IMPATIENT_SECONDS)
        return [said.get_nowait(), said.get_nowait()]

    assert world.run(body) == ["starter", "thread"]


def test_several_rings_are_one_and_a_ring_before_the_wait_counts(world: World) -> None:
    def body() -> list[bool]:
        bell = world.bell()
        seen = [bell.wait(0.0), bell.wait(-1.0)]
        bell.ring()
        bell.ring()
        return [*seen, bell.wait(LONG_SECONDS), bell.wait(SHORT_SECONDS), bell.stopped]

    assert world.run(body) == [False, False, True, False, False]


def test_a_bell_wakes_who_waits_and_a_stop_is_a_ring(world: World) -> None:
    def body() -> list[bool]:
        bell = world.bell()

        def ring() -> None:
            world.clock.sleep(SHORT_SECONDS)
            bell.ring()

        world.threads.start("rings", ring)
        seen = [bell.wait(LONG_SECONDS), bell.stopped]
        bell.stop()
        return [*seen, bell.wait(LONG_SECONDS), bell.stopped]

    assert world.run(body) == [True, False, True, True]


def test_no_thread_keeps_the_process_from_ending() -> None:
    started = threading.Event()
    threads = HostThreads()
    kinds: list[bool] = []

    def work() -> None:
        kinds.append(threading.current_thread().daemon)
        started.set()

    threads.start("works", work)
    assert started.wait(IMPATIENT_SECONDS)
    assert kinds == [True]
