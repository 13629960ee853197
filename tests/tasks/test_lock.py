"""The cluster lock: one run a cluster, across crashes, taken over only from a run that is over."""

import threading
from datetime import UTC, datetime

import pytest

from tasks.journal import Draft, Journal, Kind, LockBroken, Phase, Run, Superseded
from tasks.lock import (
    ClusterLocked,
    LockNotHeld,
    acquire,
    break_lock,
    control_node,
    held_by,
    holder,
    release,
)


def opened(journal: Journal, run_id: str, cluster: str = "lab") -> int:
    run = Run(run_id, "zero", cluster, {"cluster": cluster}, "ann", "test", datetime.now(UTC), 0)
    return journal.open_run(run).attempt


def end(journal: Journal, run_id: str, attempt: int) -> None:
    journal.append(
        Draft(run_id, Kind.RUN, "zero", Phase.ENDED, attempt=attempt, payload={"as": "failed"})
    )


def test_a_second_run_is_refused_and_told_who_holds(journal: Journal) -> None:
    acquire(journal, "r1", attempt=opened(journal, "r1"))
    with pytest.raises(ClusterLocked, match=r"held by run r1 \(runbook zero, started by ann"):
        acquire(journal, "r2", attempt=opened(journal, "r2"))


def test_another_cluster_is_another_lock(journal: Journal) -> None:
    acquire(journal, "r1", attempt=opened(journal, "r1"))
    acquire(journal, "r2", attempt=opened(journal, "r2", "prod"))


def test_it_survives_a_crash_and_the_next_attempt_has_it(journal: Journal) -> None:
    acquire(journal, "r1", attempt=opened(journal, "r1"))
    acquire(journal, "r1", attempt=opened(journal, "r1"))
    taken = [e for e in journal.entries() if e.phase is Phase.TAKEN]
    assert len(taken) == 1


def test_release_frees_it_and_only_the_holder_can(journal: Journal) -> None:
    first, second = opened(journal, "r1"), opened(journal, "r2")
    acquire(journal, "r1", attempt=first)
    release(journal, "r2", attempt=second)
    assert holder(journal, "lab") is not None
    release(journal, "r1", attempt=first)
    assert holder(journal, "lab") is None
    acquire(journal, "r2", attempt=second)


def test_a_superseded_attempt_cannot_release(journal: Journal) -> None:
    first = opened(journal, "r1")
    acquire(journal, "r1", attempt=first)
    opened(journal, "r1")
    with pytest.raises(Superseded):
        release(journal, "r1", attempt=first)


def test_it_is_taken_over_from_a_run_that_has_ended(journal: Journal) -> None:
    first, second = opened(journal, "r1"), opened(journal, "r2")
    acquire(journal, "r1", attempt=first)
    end(journal, "r1", first)
    acquire(journal, "r2", attempt=second)
    assert journal.entries()[-1].payload["taken_over_from"] == "r1"


def test_a_run_that_was_entered_again_after_its_end_has_not_ended(journal: Journal) -> None:
    first, second = opened(journal, "r1"), opened(journal, "r2")
    acquire(journal, "r1", attempt=first)
    end(journal, "r1", first)
    opened(journal, "r1")
    with pytest.raises(ClusterLocked):
        acquire(journal, "r2", attempt=second)


def test_it_is_taken_over_when_the_caller_knows_the_holder_is_over(journal: Journal) -> None:
    acquire(journal, "r1", attempt=opened(journal, "r1"))
    asked: list[str] = []
    second = opened(journal, "r2")
    acquire(journal, "r2", attempt=second, is_over=lambda run_id: not asked.append(run_id))
    assert asked == ["r1"]
    assert journal.entries()[-1].payload["because"] == "Prefect says that it is over"


def test_a_change_without_the_lock_is_refused_in_the_same_transaction(journal: Journal) -> None:
    first, second = opened(journal, "r1"), opened(journal, "r2")
    acquire(journal, "r1", attempt=first)
    intent = Draft("r2", Kind.CHANGE, "write", Phase.INTENT, attempt=second)
    with pytest.raises(LockNotHeld, match="run r1 does"):
        journal.append(intent, held_by("r2"))
    assert all(entry.kind is not Kind.CHANGE for entry in journal.entries())


def test_of_ten_that_race_one_wins(journal: Journal) -> None:
    attempts = {f"r{n}": opened(journal, f"r{n}") for n in range(10)}
    won: list[str] = []
    lost: list[str] = []

    def race(run_id: str) -> None:
        try:
            acquire(journal, run_id, attempt=attempts[run_id])
            won.append(run_id)
        except ClusterLocked:
            lost.append(run_id)

    racers = [threading.Thread(target=race, args=(run_id,)) for run_id in attempts]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert (len(won), len(lost)) == (1, 9)


def broken(journal: Journal) -> tuple[int, int]:
    """Break r1's lock for r2; return both attempts."""
    first, second = opened(journal, "r1"), opened(journal, "r2")
    acquire(journal, "r1", attempt=first)
    seen = holder(journal, "lab")
    assert seen is not None
    last = journal.entries("r1")[-1].seq
    break_lock(journal, "r2", seen, last_seq=last, attempt=second, why="bob says so")
    return first, second


def test_its_holder_names_the_control_node(journal: Journal) -> None:
    acquire(journal, "r1", attempt=opened(journal, "r1"))
    held = holder(journal, "lab")
    assert held is not None
    assert held.node == control_node()
    with pytest.raises(ClusterLocked, match=f"control node {control_node()}") as refused:
        acquire(journal, "r2", attempt=opened(journal, "r2"))
    assert "runbook run break-lock --cluster lab" in str(refused.value)


def test_a_broken_run_can_write_no_more_nor_be_entered_again(journal: Journal) -> None:
    first, second = broken(journal)
    for draft in (
        Draft("r1", Kind.CHANGE, "write", Phase.INTENT, attempt=first),
        Draft("r1", Kind.RUN, "zero", Phase.ENDED, attempt=first),
    ):
        with pytest.raises(Superseded):
            journal.append(draft)
    with pytest.raises(LockBroken, match="by run r2: bob says so"):
        opened(journal, "r1")
    held = holder(journal, "lab")
    assert held is not None
    assert held.run_id == "r2"
    release(journal, "r2", attempt=second)
    assert holder(journal, "lab") is None


def test_the_break_is_on_record_and_done_once(journal: Journal) -> None:
    _, second = broken(journal)
    seen = holder(journal, "lab")
    assert seen is not None
    break_lock(journal, "r2", seen, last_seq=0, attempt=second, why="again")
    ended, taken = journal.entries()[-2:]
    assert (ended.run_id, ended.payload["as"]) == ("r1", "lock broken")
    assert taken.payload["taken_over_from"] == "r1"
    assert taken.payload["because"] == "lock broken"


def test_what_is_not_as_it_was_seen_is_not_broken(journal: Journal) -> None:
    first, second = opened(journal, "r1"), opened(journal, "r2")
    acquire(journal, "r1", attempt=first)
    seen = holder(journal, "lab")
    assert seen is not None
    last = journal.entries("r1")[-1].seq
    journal.append(Draft("r1", Kind.LOOK, "look", Phase.NOTE, attempt=first))
    with pytest.raises(ClusterLocked, match="has written since: nothing was broken"):
        break_lock(journal, "r2", seen, last_seq=last, attempt=second, why="x")
    release(journal, "r1", attempt=first)
    last = journal.entries("r1")[-1].seq
    with pytest.raises(ClusterLocked, match="not held any more by run r1"):
        break_lock(journal, "r2", seen, last_seq=last, attempt=second, why="x")
    journal.append(Draft("r1", Kind.LOOK, "look", Phase.OUTCOME, attempt=first))


def test_only_break_lock_changes_without_the_lock(journal: Journal) -> None:
    run = Run("b1", "break-lock", "lab", {}, "ann", "test", datetime.now(UTC), 0)
    attempt = journal.open_run(run).attempt
    acquire(journal, "r1", attempt=opened(journal, "r1"))
    intent = Draft("b1", Kind.CHANGE, "take_lock_over", Phase.INTENT, attempt=attempt)
    journal.append(intent, held_by("b1"))
    with pytest.raises(LockNotHeld):
        journal.append(
            Draft("r2", Kind.CHANGE, "x", Phase.INTENT, attempt=opened(journal, "r2")),
            held_by("r2"),
        )
