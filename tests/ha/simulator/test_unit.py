"""A simulated service: when systemd starts it, stops it, kills it, and starts it again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from ha.simulator.processes import Boot
from ha.simulator.schedule import Schedule
from ha.simulator.unit import Manner, Run, Unit

RESTART_SECONDS, STOP_LIMIT_SECONDS = 10.0, 30.0


@dataclass
class Bench:
    """A unit whose runs are begun at `began`; each serves until it is asked to stop."""

    restart_always: bool = True
    schedule: Schedule = field(default_factory=Schedule)
    began: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    code: int | None = None
    """What a run ends with at once; None: it serves."""
    deaf: bool = False
    """A run does not obey a stop."""
    stop_seconds: float = 0.0

    def __post_init__(self) -> None:
        manner = Manner(
            "service",
            RESTART_SECONDS,
            restart_always=self.restart_always,
            stop_limit_seconds=STOP_LIMIT_SECONDS,
        )
        self.unit = Unit(self.schedule, manner, "host1", self.serve, self.told.append)
        self.power_on()

    def power_on(self) -> None:
        """Begin a life of the host."""
        self.boot = Boot()
        self.unit.boot(self.boot)
        self.run(1)

    def serve(self, run: Run) -> int:
        self.began.append(self.schedule.now)
        stopping = self.schedule.flag()
        if not self.deaf:
            run.stop = stopping.set
        if self.code is None:
            stopping.wait()
            self.schedule.sleep(self.stop_seconds)
        return self.code or 0

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.schedule.run_until(self.schedule.now + seconds)


@pytest.fixture
def made() -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(**given: bool) -> Bench:
        benches.append(Bench(**given))
        return benches[-1]

    yield make
    for bench in benches:
        bench.schedule.close()


Make = Callable[..., Bench]


def test_it_runs_from_the_boot_on_and_a_second_start_changes_nothing(made: Make) -> None:
    bench = made()
    first = bench.unit.run
    bench.unit.start()
    bench.run(100)
    assert bench.unit.run is first
    assert bench.unit.active
    assert bench.began == [0.0]
    assert bench.told == []


def test_one_that_is_disabled_is_not_started_at_the_boot(made: Make) -> None:
    bench = made()
    bench.boot.over = True
    bench.unit.enabled = False
    bench.power_on()
    assert (bench.unit.run, bench.unit.active) == (None, False)
    assert bench.began == [0.0]


def test_one_that_is_stopped_ends_and_stays_so(made: Make) -> None:
    bench = made()
    bench.unit.stop()
    assert bench.unit.run is not None  # until it has ended
    bench.run(100)
    assert (bench.unit.run, bench.unit.active) == (None, False)
    assert bench.told == ["service has stopped"]
    assert bench.began == [0.0]


def test_one_that_does_not_end_in_time_is_killed(made: Make) -> None:
    bench = made()
    bench.boot.over = True
    bench.deaf = True
    bench.power_on()
    bench.unit.stop()
    bench.run(STOP_LIMIT_SECONDS - 1)
    assert bench.told == []
    bench.run(2)
    assert bench.told == [
        "service did not end in time and is killed",
        "service has stopped",
    ]
    assert bench.unit.run is None


def test_one_that_is_killed_is_started_again_after_its_pause(made: Make) -> None:
    bench = made()
    bench.unit.kill()
    bench.run(RESTART_SECONDS - 0.5)
    assert bench.unit.run is None
    assert bench.unit.active  # systemd is about to
    bench.run(1)
    assert bench.told == ["service ended; systemd starts it again"]
    assert bench.began == [0.0, pytest.approx(1.0 + RESTART_SECONDS)]


@pytest.mark.parametrize(
    ("restart_always", "code", "again"),
    [(True, 0, True), (True, 3, True), (False, 0, False), (False, 3, True)],
)
def test_one_that_ends_by_itself_is_started_again_as_its_unit_says(
    made: Make, restart_always: bool, code: int, again: bool
) -> None:
    bench = made(restart_always=restart_always)
    bench.boot.over = True
    bench.code = code
    bench.power_on()
    bench.code = None
    bench.run(2 * RESTART_SECONDS)
    assert len(bench.began) == 2 + again
    assert (bench.unit.run is not None) is again


def test_one_that_is_started_while_it_stops_runs_again_at_once(made: Make) -> None:
    bench = made()
    bench.stop_seconds = 5.0
    bench.unit.stop()
    bench.run(1)
    bench.unit.start()
    bench.run(STOP_LIMIT_SECONDS)
    assert bench.told == ["service has stopped and is started again"]
    assert bench.began == [0.0, pytest.approx(6.0)]
    assert bench.unit.run is not None


def test_one_that_is_stopped_in_its_pause_is_not_started_again(made: Make) -> None:
    bench = made()
    bench.unit.kill()
    bench.run(1)
    bench.unit.stop()
    bench.run(2 * RESTART_SECONDS)
    assert bench.began == [0.0]


def test_nothing_is_started_on_a_host_without_power(made: Make) -> None:
    bench = made()
    bench.unit.kill()
    bench.run(1)
    bench.boot.over = True
    bench.unit.start()
    bench.run(2 * RESTART_SECONDS)
    assert bench.began == [0.0]
    bench.power_on()
    assert len(bench.began) == 2
