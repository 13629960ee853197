"""What is read out of a drill's timeline, and of the agents' logs."""

import re

import pytest

from ha.core.bounds import unsafe
from ha.core.timing import Timing
from ha.simulator.timeline import Bar, Lane, Timeline
from tests.lab.drill_watch import REQUEST, START
from tests.lab.drills import TIMING, begins_after, end_at, penalised

VM = Lane(
    "VM",
    (
        Bar(-3, 0.4, "h1", ""),
        Bar(15, 16, "waits for its lease", ""),
        Bar(16, 40, "h2", ""),
    ),
)
ENGINE = Lane("engine", (Bar(-3, 0.9, "good", ""), Bar(0.9, 22, "no answer", "")))


def test_when_the_vm_was_gone_and_when_it_ran_again() -> None:
    assert end_at(VM, 0.0) == 0.4
    assert begins_after(VM, 0.4) == 16


def test_what_lasts_has_no_end_and_what_was_lost_no_new_begin() -> None:
    assert end_at(VM, 20.0) is None
    assert begins_after(ENGINE, 0.9) is None
    assert begins_after(Lane("VM", ()), 0.0) is None


def test_a_host_that_was_shut_out_is_found() -> None:
    shut_out = Lane("h2", (Bar(0, 1, "EngineUp", "3400"), Bar(1, 9, "EngineUnexpectedlyDown", "0")))
    made = Timeline("x", 0, 9, (Lane("h1", (Bar(0, 9, "EngineDown", "3400"),)), shut_out), ())
    assert penalised(made) == {"h2"}


LOGGED = [
    (
        START,
        "MainThread::INFO::2026-11-23 02:51:00,123::agent_log::77::ha.agent::(_transition) Engine"
        " down and local host has best score (3400), attempting to start engine VM",
        ("attempting", "about"),
    ),
    (
        REQUEST,
        "MainThread::INFO::2026-11-23 02:51:00,123::agent_log::76::ha.agent::(_answer) Starting"
        " the engine VM [EngineStart/request-start-vm]",
        ("request-start-vm", "start-vm-accepted"),
    ),
]


@pytest.mark.parametrize(("wanted", "line", "other"), LOGGED, ids=["start", "request"])
def test_what_an_agent_did_is_found_in_its_log(
    wanted: re.Pattern[str], line: str, other: tuple[str, str]
) -> None:
    found = wanted.search(line)
    assert found
    assert found[1] == "2026-11-23 02:51:00,123"
    assert not wanted.search(line.replace(*other))


def test_the_limits_of_the_drills_are_safe_ones() -> None:
    assert list(unsafe(Timing(**TIMING))) == []  # type: ignore[arg-type]
