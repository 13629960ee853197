"""Recorded steps: once a run, answered from the journal afterwards, under unique names."""

import pytest

from tasks.env import World
from tasks.journal import Journal, Kind, Phase, Superseded
from tasks.lock import LockNotHeld, holder
from tasks.recorded import Outcome
from tasks.runs import StepNameReused, entered_run
from tests.tasks.recorded_sample import (
    Seen,
    calls,
    fail,
    read_blocks,
    require_quiet,
    wait_until_quiet,
    write_blocks,
)


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    calls.clear()


def in_run(mutates: bool = True):
    return entered_run("rb", parameters={"cluster": "lab"}, mutates=mutates, run_id="r1")


def test_outside_of_a_run_it_just_calls() -> None:
    assert write_blocks.fn("lab", "h1") is Outcome.CHANGED
    assert write_blocks("lab", "h1") is Outcome.CHANGED
    assert calls == ["write h1 ()"] * 2


def test_a_later_attempt_answers_from_the_journal(small_world: World) -> None:
    with in_run():
        first = (read_blocks("lab", "h1"), write_blocks("lab", "h1"), require_quiet("lab"))
    with in_run():
        assert (read_blocks("lab", "h1"), write_blocks("lab", "h1"), require_quiet("lab")) == first
    assert calls == ["read h1", "write h1 ()", "check"]
    assert first[0] == (Seen("h1", (1, 52)),)


def test_intent_before_and_outcome_after_are_written(small_world: World, journal: Journal) -> None:
    with in_run():
        write_blocks("lab", "h1", blocks=(52,))
    mine = [entry for entry in journal.entries("r1") if entry.kind is Kind.CHANGE]
    assert [(e.phase, e.step, e.host) for e in mine] == [
        (Phase.INTENT, "write_blocks@h1", "h1"),
        (Phase.OUTCOME, "write_blocks@h1", "h1"),
    ]
    assert mine[0].payload["inputs"] == {"cluster": "lab", "host": "h1", "blocks": [52]}
    assert mine[1].payload["value"] == "changed"


def test_a_step_that_failed_is_entered_again(small_world: World, journal: Journal) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no space"), in_run():
            fail("lab")
    assert calls == ["fail", "fail"]
    phases = [e.phase for e in journal.entries("r1") if e.step == "fail"]
    assert phases == [Phase.INTENT, Phase.FAILURE] * 2
    ended = [e.payload for e in journal.entries("r1") if e.phase is Phase.ENDED]
    assert ended[0] == {"as": "failed", "why": "RuntimeError: no space left"}


def test_a_name_used_twice_in_one_attempt_is_refused(small_world: World) -> None:
    with in_run():
        read_blocks("lab", "h1")
        read_blocks("lab", "h2")
        read_blocks.named("again@h1")("lab", "h1")
        with pytest.raises(StepNameReused, match="`read_blocks@h1` is used twice"):
            read_blocks("lab", "h1")
    assert calls == ["read h1", "read h2", "read h1"]


def test_a_name_used_for_something_else_later_is_refused(small_world: World) -> None:
    with in_run():
        read_blocks.named("x")("lab", "h1")
    with in_run(), pytest.raises(StepNameReused, match="recorded as look read_blocks"):
        write_blocks.named("x")("lab", "h1")


def test_other_arguments_than_recorded_are_refused_but_limits_may_change(
    small_world: World,
) -> None:
    with in_run():
        write_blocks("lab", "h1", (52,))
        wait_until_quiet("lab", 10)
    with in_run():
        wait_until_quiet("lab", timeout_seconds=99)
        with pytest.raises(StepNameReused, match="other arguments"):
            write_blocks("lab", "h1", (53,))
    assert calls == ["write h1 (52,)", "wait 10"]


def test_a_change_needs_the_cluster_lock(small_world: World) -> None:
    with in_run(mutates=False):
        read_blocks("lab", "h1")
        with pytest.raises(LockNotHeld):
            write_blocks("lab", "h1")
    assert calls == ["read h1"]


def test_a_superseded_process_changes_nothing_more(small_world: World, journal: Journal) -> None:
    def go_on() -> None:
        with in_run():
            read_blocks("lab", "h1")
            with in_run():
                pass  # the successor came and went
            write_blocks("lab", "h1")

    with pytest.raises(Superseded):
        go_on()
    assert calls == ["read h1"]
    assert [e.phase for e in journal.entries("r1") if e.kind is Kind.RUN] == [
        Phase.ATTEMPT,
        Phase.ATTEMPT,
        Phase.ENDED,
    ]


def test_the_lock_is_released_at_the_end_and_kept_by_a_failure(
    small_world: World, journal: Journal
) -> None:
    with in_run():
        assert holder(journal, "lab") is not None
    assert holder(journal, "lab") is None
    with pytest.raises(RuntimeError), in_run():
        fail("lab")
    left = holder(journal, "lab")
    assert left is not None
    assert left.ended
