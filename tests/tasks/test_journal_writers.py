"""Several processes at one journal, on SQLite and on PostgreSQL: one chain, one lock, no loss."""

import multiprocessing
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from tasks.audit_verify import verify_journal
from tasks.journal import Draft, Journal, JournalUnavailable, Kind, Phase, Run, Superseded
from tasks.lock import ClusterLocked, Holder, acquire, break_lock, holder

SPAWN = multiprocessing.get_context("spawn")


def a_run(run_id: str = "r1", cluster: str = "lab") -> Run:
    return Run(run_id, "rb", cluster, {"cluster": cluster}, "ann", "test", datetime.now(UTC), 0)


def in_processes(work: Callable[..., None], *each: tuple[Any, ...]) -> None:
    started = [SPAWN.Process(target=work, args=args) for args in each]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0] * len(started)


def append_many(url: str, name: str, count: int) -> None:
    journal = Journal(url)
    journal.open_run(a_run(name))
    for number in range(count):
        journal.append(Draft(name, Kind.LOOK, f"{name}.{number}", Phase.NOTE))


def race_for_the_lock(url: str, name: str, start: Any, results: Any) -> None:
    journal = Journal(url)
    attempt = journal.open_run(a_run(name)).attempt
    start.wait(60)
    try:
        acquire(journal, name, attempt=attempt)
        results.put((name, "won"))
    except ClusterLocked as refused:
        results.put((name, str(refused)))


def test_processes_that_open_and_append_at_once_keep_one_chain(journal_url: str) -> None:
    # The tables do not exist yet: they race for making them, too.
    in_processes(append_many, *[(journal_url, f"w{n}", 25) for n in range(4)])
    journal = Journal(journal_url)
    assert [entry.seq for entry in journal.entries()] == list(range(1, 105))
    verdict = verify_journal(journal)
    assert verdict.faults == ()
    assert verdict.entries == 104


def test_of_processes_that_race_for_the_lock_one_wins(journal_url: str) -> None:
    start, results = SPAWN.Barrier(3), SPAWN.Queue()
    in_processes(race_for_the_lock, *[(journal_url, f"r{n}", start, results) for n in range(3)])
    said = dict(results.get(timeout=10) for _ in range(3))
    winners = [name for name, what in said.items() if what == "won"]
    held = holder(Journal(journal_url), "lab")
    assert held is not None
    assert winners == [held.run_id]
    assert held.node
    lost = [what for what in said.values() if what != "won"]
    assert all(f"held by run {held.run_id} (runbook rb, started by ann" in what for what in lost)
    assert all(f"control node {held.node}" in what for what in lost)


def append_until_refused(url: str, ready: Any, results: Any) -> None:
    journal = Journal(url)
    attempt = journal.open_run(a_run("old")).attempt
    acquire(journal, "old", attempt=attempt)
    for number in range(2000):
        try:
            journal.append(Draft("old", Kind.LOOK, f"s{number}", Phase.NOTE, attempt=attempt))
        except Superseded as refused:
            results.put((number, str(refused)))
            return
        ready.set()
        time.sleep(0.02)


def test_a_process_whose_lock_is_broken_is_refused_its_next_append(journal_url: str) -> None:
    ready, results = SPAWN.Event(), SPAWN.Queue()
    process = SPAWN.Process(target=append_until_refused, args=(journal_url, ready, results))
    process.start()
    assert ready.wait(60)
    journal = Journal(journal_url)
    attempt = journal.open_run(a_run("new")).attempt
    seen = holder(journal, "lab")
    assert seen is not None
    while True:  # it lives, so it may write between the look and the break
        last = journal.entries("old")[-1].seq
        if broke(journal, seen, last, attempt):
            break
    number, refused = results.get(timeout=60)
    process.join(60)
    assert "this process must stop" in refused
    entries = journal.entries("old")
    assert entries[-1].phase is Phase.ENDED
    assert sum(entry.kind is Kind.LOOK for entry in entries) == number
    assert verify_journal(journal).faults == ()


@pytest.mark.parametrize(
    "verb",
    [
        "UPDATE journal_entries SET step = 'x'",
        "DELETE FROM journal_entries",
        "INSERT INTO journal_entries (seq, run_id, attempt, at, kind, step, phase, cluster, host,"
        " actor, via, payload) VALUES (2, 'r', 1, 'x', 'run', 's', 'note', 'c', '', '', '', '{}')",
        "TRUNCATE journal_entries",
    ],
)
def test_the_database_itself_refuses_changes(journal_url: str, verb: str) -> None:
    if verb.startswith("TRUNCATE") and journal_url.startswith("sqlite"):
        verb = "DELETE FROM journal_entries WHERE 1"
    journal = Journal(journal_url)
    journal.open_run(a_run())
    engine = create_engine(journal_url)
    with (
        pytest.raises((IntegrityError, DBAPIError), match="never changed or deleted|newer version"),
        engine.begin() as raw,
    ):
        raw.execute(text(verb))
    engine.dispose()
    assert len(journal.entries()) == 1


@contextmanager
def held_by_another(url: str) -> Iterator[None]:
    """Hold the writers' lock as a process that hangs would."""
    if url.startswith("sqlite"):
        raw = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        raw.execute("BEGIN IMMEDIATE")
        yield
        raw.close()
    else:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("SELECT * FROM journal_head FOR UPDATE"))
            yield
        engine.dispose()


def test_a_locked_database_is_a_bounded_wait_and_a_clear_error(journal_url: str) -> None:
    Journal(journal_url).open_run(a_run())
    journal = Journal(journal_url, busy_timeout_seconds=1.0)
    began = time.monotonic()
    with held_by_another(journal_url), pytest.raises(JournalUnavailable) as refused:
        journal.append(Draft("r1", Kind.LOOK, "look", Phase.NOTE))
    assert 0.8 < time.monotonic() - began < 15
    said = str(refused.value)
    assert "Nothing was written" in said
    assert "another process has held it for 1 s" in said
    assert "fuser -v" in said or "pg_stat_activity" in said
    assert journal.append(Draft("r1", Kind.LOOK, "look", Phase.NOTE)).seq == 2
    assert verify_journal(journal).faults == ()


def test_a_lock_of_a_moment_is_waited_for(journal_url: str) -> None:
    journal = Journal(journal_url, busy_timeout_seconds=30.0)
    journal.open_run(a_run())
    done: list[int] = []
    with held_by_another(journal_url):
        draft = Draft("r1", Kind.LOOK, "look", Phase.NOTE)
        writer = threading.Thread(target=lambda: done.append(journal.append(draft).seq))
        writer.start()
        time.sleep(0.7)
        assert done == []
    writer.join(30)
    assert done == [2]


def test_a_database_that_is_not_there_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match="see that the database is up") as refused:
        Journal(f"postgresql+psycopg://ann:hunter2x@/gone?host={tmp_path}")
    assert "hunter2x" not in str(refused.value)


def test_a_clock_put_back_changes_no_order(journal_url: str) -> None:
    now = [datetime(2026, 11, 22, 12, 0, tzinfo=UTC)]
    journal = Journal(journal_url, now=lambda: now[0])
    attempt = journal.open_run(a_run("r1")).attempt
    now[0] -= timedelta(hours=2)
    early = Run("r2", "rb", "lab", {"cluster": "lab"}, "ann", "test", now[0], 0)
    journal.open_run(early)
    journal.append(Draft("r1", Kind.LOOK, "look", Phase.OUTCOME, attempt=attempt))
    entries = journal.entries()
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert entries[1].at < entries[0].at
    assert [run.run_id for run in journal.runs()] == ["r2", "r1"]
    verdict = verify_journal(journal)
    assert verdict.faults == ()
    assert verdict.remarks == ("entry 2: the clock had been put back by 7200 s; order is by seq",)


def broke(journal: Journal, seen: Holder, last_seq: int, attempt: int) -> bool:
    """Break the lock; tell whether it was, or refused as its holder has written since."""
    try:
        break_lock(journal, "new", seen, last_seq=last_seq, attempt=attempt, why="bob says so")
    except ClusterLocked as refused:
        if "has written since" not in str(refused):
            raise
        return False
    return True
