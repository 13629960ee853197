"""A run's journal as people read it."""

from datetime import UTC, datetime
from typing import Any

from tasks.journal import Entry, Kind, Phase
from tasks.timeline import CAME_TO_CHARACTERS, timeline

AT = datetime(2026, 11, 22, 3, 0, 5, tzinfo=UTC)


def entry(kind: Kind, step: str, phase: Phase, actor: str = "", **payload: Any) -> Entry:
    via = "command" if actor else ""
    return Entry(1, "r", 1, AT, kind, step, phase, "lab", "", actor, via, payload)


def told(*entries: Entry) -> list[tuple[str, str]]:
    return [(line.what, line.came_to) for line in timeline(entries)]


def test_a_step_that_ended_is_told_once_by_its_outcome() -> None:
    assert told(
        entry(Kind.CHECK, "require_x", Phase.INTENT),
        entry(Kind.CHECK, "require_x", Phase.OUTCOME, value=None),
        entry(Kind.CHANGE, "write", Phase.INTENT),
        entry(Kind.CHANGE, "write", Phase.OUTCOME, value="already"),
    ) == [("check require_x", "holds"), ("change write", "already")]


def test_a_step_that_began_and_did_not_end_is_told_so() -> None:
    assert told(entry(Kind.CHANGE, "write", Phase.INTENT)) == [("change write", "begun, not ended")]


def test_a_gate_tells_that_it_waits_then_who_decided_and_why() -> None:
    asked = entry(Kind.GATE, "approve", Phase.INTENT)
    decided = entry(Kind.GATE, "approve", Phase.DECISION, "ann", decision="approve", reason="4711")
    assert told(asked) == [("gate approve", "waits for a decision")]
    (line,) = timeline([asked, decided])
    assert (line.came_to, line.who, line.at) == ("approve: 4711", "ann (command)", "03:00:05")


def test_a_failure_keeps_its_reason_on_one_line() -> None:
    failed = entry(Kind.WAIT, "wait_x", Phase.FAILURE, error="TimedOut", why="no\nanswer")
    assert told(entry(Kind.WAIT, "wait_x", Phase.INTENT), failed) == [
        ("wait wait_x", "TimedOut: no answer")
    ]


def test_notes_are_left_out() -> None:
    assert told(entry(Kind.RUN, "way_back", Phase.NOTE, lines=[])) == []


def test_what_was_cut_shows_that_it_was() -> None:
    failed = entry(Kind.WAIT, "wait_x", Phase.FAILURE, error="TimedOut", why="x" * 300)
    ((_, said),) = told(failed)
    assert len(said) == CAME_TO_CHARACTERS
    assert said.endswith("x…")
