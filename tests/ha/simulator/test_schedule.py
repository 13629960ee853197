"""Virtual time: one task at a time, always in the same order; what is killed or frozen as one."""

from collections.abc import Callable, Iterator

import pytest

from ha.simulator.processes import Boot, Killed, Process, SimulationError, TooLong
from ha.simulator.schedule import Schedule


@pytest.fixture
def schedule() -> Iterator[Schedule]:
    schedule = Schedule()
    yield schedule
    schedule.close()


def process(boot: Boot | None = None) -> Process:
    return Process("test", "host1", boot or Boot())


def ticks(schedule: Schedule, said: list[str], name: str, seconds: float) -> Callable[[], None]:
    def run() -> None:
        while True:
            said.append(f"{name} {schedule.now:g}")
            schedule.sleep(seconds)

    return run


def test_tasks_take_turns_in_the_order_of_time_and_then_of_entry(schedule: Schedule) -> None:
    said: list[str] = []
    schedule.spawn(process(), "a", ticks(schedule, said, "a", 2))
    schedule.spawn(process(), "b", ticks(schedule, said, "b", 3))
    schedule.at(2, lambda: said.append("alarm"))
    schedule.run_until(6)
    # The alarm of 2 s was entered before a's wait, and at 6 s b has waited for longer.
    assert said == ["a 0", "b 0", "alarm", "a 2", "b 3", "a 4", "b 6", "a 6"]
    assert schedule.now == 6


def test_a_flag_wakes_who_waits_and_tells_who_was_too_late(schedule: Schedule) -> None:
    flag, said = schedule.flag(), []

    def wait(seconds: float | None) -> Callable[[], None]:
        return lambda: said.append((flag.wait(seconds), schedule.now))

    for seconds in (None, 5.0, 1.0):
        schedule.spawn(process(), "waits", wait(seconds))
    schedule.at(3, flag.set)
    schedule.run_until(10)
    assert said == [(False, 1), (True, 3), (True, 3)]
    assert flag.wait(0)


def test_a_killed_process_stops_where_it_waits_and_may_ask_for_nothing_more(
    schedule: Schedule,
) -> None:
    victim, said = process(), []

    def run() -> None:
        try:
            schedule.sleep(100)
        finally:
            said.append("ends")
            with pytest.raises(Killed):
                schedule.sleep(1)
            said.append("asked")

    schedule.spawn(victim, "victim", run)
    schedule.at(5, lambda: schedule.kill(victim))
    schedule.run_until(5)
    assert said == ["ends", "asked"]


def test_a_visitor_of_a_killed_process_is_thrown_out_and_lives_on(schedule: Schedule) -> None:
    visited, said = process(), []

    def run() -> None:
        try:
            with schedule.visit(visited, 20):
                schedule.sleep(10)
        except Killed:
            said.append(schedule.now)
        schedule.sleep(1)
        said.append(schedule.now)

    schedule.spawn(process(), "visitor", run)
    schedule.at(5, lambda: schedule.kill(visited))
    schedule.run_until(20)
    assert said == [5, 6]


def test_a_visit_has_a_limit(schedule: Schedule) -> None:
    never, said = schedule.flag(), []

    def run() -> None:
        for wait in (lambda: schedule.sleep(30), never.wait):
            try:
                with schedule.visit(process(), 20):
                    wait()
            except TooLong:
                said.append(schedule.now)
        schedule.sleep(30)  # no limit any more
        said.append(schedule.now)

    schedule.spawn(process(), "visitor", run)
    schedule.run_until(100)
    assert said == [20, 40, 70]


def test_what_is_frozen_is_made_up_for_after_the_thaw(schedule: Schedule) -> None:
    boot, said = Boot(), list[str]()
    schedule.spawn(process(boot), "a", ticks(schedule, said, "a", 10))
    schedule.at(12, lambda: said.append(f"alarm {schedule.now:g}"), boot)
    schedule.at(5, lambda: setattr(boot, "frozen", True))
    schedule.at(25, lambda: schedule.thaw(boot))
    schedule.run_until(40)
    assert said == ["a 0", "a 25", "alarm 25", "a 35"]


def test_alarms_of_a_host_without_power_are_void(schedule: Schedule) -> None:
    boot, said = Boot(), list[str]()
    schedule.at(2, lambda: said.append("rings"), boot)
    schedule.at(3, lambda: said.append("late"), boot)
    schedule.at(2.5, lambda: setattr(boot, "over", True))
    schedule.at(2, lambda: said.append("cancelled")).cancel()
    schedule.run_until(10)
    assert said == ["rings"]


@pytest.mark.parametrize("where", ["task", "alarm"])
def test_an_error_that_nobody_expects_ends_the_run(schedule: Schedule, where: str) -> None:
    def fail() -> None:
        raise ValueError("a surprise")

    if where == "task":
        schedule.spawn(process(), "fails", fail)
    else:
        schedule.at(0, fail)
    schedule.at(1, lambda: pytest.fail("goes on"))
    with pytest.raises(SimulationError, match=r"at 0\.000 s: ValueError\('a surprise'\)"):
        schedule.run_until(2)


def test_an_alarm_must_not_wait(schedule: Schedule) -> None:
    schedule.at(1, lambda: schedule.sleep(1))
    with pytest.raises(SimulationError, match="must not wait"):
        schedule.run_until(2)


def test_closing_ends_every_task(schedule: Schedule) -> None:
    boot, ended = Boot(), []

    def run() -> None:
        try:
            schedule.flag().wait()
        finally:
            ended.append(True)

    for _ in range(3):
        schedule.spawn(process(boot), "waits", run)
    schedule.run_until(1)
    boot.frozen = True
    schedule.close()
    assert ended == [True] * 3
