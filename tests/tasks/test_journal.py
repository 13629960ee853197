"""The journal: append-only, gapless, fenced attempts, one outcome a step, no secrets."""

import multiprocessing
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from tasks.journal import (
    AlreadyRecorded,
    Draft,
    Journal,
    JournalError,
    Kind,
    Phase,
    Run,
    Superseded,
    UnknownRun,
)
from tasks.journal_tables import ONE_DECISION, ONE_OUTCOME, Base
from tasks.redaction import STRUCK_OUT, register_secret


def a_run(run_id: str = "r1", cluster: str = "lab") -> Run:
    return Run(run_id, "rb", cluster, {"cluster": cluster}, "ann", "test", datetime.now(UTC), 0)


def outcome(attempt: int, step: str = "look", **payload: object) -> Draft:
    return Draft("r1", Kind.LOOK, step, Phase.OUTCOME, attempt=attempt, payload=payload)


def test_entries_are_in_order_without_gaps_and_come_back_whole(journal: Journal) -> None:
    attempt = journal.open_run(a_run()).attempt
    written = journal.append(
        Draft(
            "r1",
            Kind.CHANGE,
            "do@h1",
            Phase.INTENT,
            attempt=attempt,
            host="h1",
            actor="ann",
            via="cli",
            payload={"argv": ["a", "ü"], "n": None},
        )
    )
    assert [entry.seq for entry in journal.entries()] == [1, 2]
    assert journal.entries("r1", after_seq=1) == [written]
    assert written.at.tzinfo is not None
    assert written.cluster == "lab"
    assert written.payload == {"argv": ["a", "ü"], "n": None}


def test_a_second_outcome_of_a_step_is_refused_and_leaves_no_gap(journal: Journal) -> None:
    attempt = journal.open_run(a_run()).attempt
    journal.append(outcome(attempt, value=1))
    with pytest.raises(AlreadyRecorded, match="look `look` has its outcome already"):
        journal.append(outcome(attempt, value=2))
    journal.append(outcome(attempt, step="other"))
    assert [entry.seq for entry in journal.entries()] == [1, 2, 3]
    found = journal.find("r1", Kind.LOOK, "look", Phase.OUTCOME)
    assert found is not None
    assert found.payload == {"value": 1}


def test_an_entry_of_a_superseded_attempt_is_refused(journal: Journal) -> None:
    first = journal.open_run(a_run()).attempt
    second = journal.open_run(a_run()).attempt
    with pytest.raises(Superseded, match="attempt 1 was superseded by attempt 2"):
        journal.append(outcome(first))
    journal.append(outcome(second))


def test_a_run_that_was_never_opened_is_unknown(journal: Journal) -> None:
    with pytest.raises(UnknownRun):
        journal.append(outcome(0))
    with pytest.raises(UnknownRun):
        journal.run("r1")


def test_runs_are_listed_newest_first_and_by_cluster(journal: Journal) -> None:
    for run_id, cluster in (("r1", "lab"), ("r2", "prod"), ("r3", "lab")):
        journal.open_run(a_run(run_id, cluster))
    assert [run.run_id for run in journal.runs()] == ["r3", "r2", "r1"]
    assert [run.run_id for run in journal.runs("lab")] == ["r3", "r1"]
    assert journal.run("r2").parameters == {"cluster": "prod"}


@pytest.mark.parametrize(
    "verb", ["UPDATE journal_entries SET step='x'", "DELETE FROM journal_entries"]
)
def test_entries_cannot_be_changed_or_deleted(journal: Journal, tmp_path: Path, verb: str) -> None:
    journal.open_run(a_run())
    with (
        sqlite3.connect(tmp_path / "journal.db") as raw,
        pytest.raises(sqlite3.IntegrityError, match="never changed or deleted"),
    ):
        raw.execute(verb)


def test_registered_secrets_never_reach_the_store(journal: Journal, tmp_path: Path) -> None:
    register_secret("hunter2!x")
    attempt = journal.open_run(a_run()).attempt
    journal.append(
        outcome(attempt, argv=["--password=hunter2!x"], deep={"hunter2!x": ["hunter2!x"]})
    )
    stored = journal.entries("r1")[-1].payload
    assert stored["argv"] == [f"--password={STRUCK_OUT}"]
    files = tmp_path.glob("journal.db*")
    assert not any(b"hunter2!x" in path.read_bytes() for path in files)


def test_a_secret_that_is_no_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="less than 4"):
        register_secret("abc")


def test_a_payload_has_a_limit(journal: Journal) -> None:
    attempt = journal.open_run(a_run()).attempt
    with pytest.raises(JournalError, match="payload is over"):
        journal.append(outcome(attempt, big="x" * 1_100_000))


def _append_many(url: str, name: str, count: int) -> None:
    journal = Journal(url)
    for number in range(count):
        journal.append(Draft("r1", Kind.LOOK, f"{name}.{number}", Phase.NOTE))


def test_several_processes_write_one_gapless_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    Journal(url).open_run(a_run())
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(url, str(n), 25)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert [entry.seq for entry in Journal(url).entries()] == list(range(1, 102))


def test_the_tables_are_postgresql_too() -> None:
    dialect = postgresql.dialect()
    for table in Base.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
    for index in (ONE_OUTCOME, ONE_DECISION):
        assert "UNIQUE INDEX" in str(CreateIndex(index).compile(dialect=dialect))
        assert "WHERE phase =" in str(CreateIndex(index).compile(dialect=dialect))
