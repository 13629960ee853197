"""A journal of the version before entries had hashes is sealed when it is opened, and goes on."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.audit_export import export_lines, verify_lines
from tasks.audit_verify import verify_journal
from tasks.journal import Draft, Journal, JournalError, Kind, Phase, Run
from tests.tasks.tampering import said, tamper

# As version 0.1.0 made it in SQLite, and what it wrote of a run.
EARLIER = """
CREATE TABLE journal_head (
    id INTEGER NOT NULL, seq INTEGER NOT NULL, hash VARCHAR(64), PRIMARY KEY (id));
CREATE TABLE journal_runs (
    run_id VARCHAR(64) NOT NULL, runbook VARCHAR(64) NOT NULL, cluster VARCHAR(64) NOT NULL,
    parameters TEXT NOT NULL, actor VARCHAR(128) NOT NULL, via VARCHAR(32) NOT NULL,
    started_at VARCHAR(32) NOT NULL, attempt INTEGER NOT NULL, PRIMARY KEY (run_id));
CREATE INDEX ix_journal_runs_cluster ON journal_runs (cluster);
CREATE TABLE journal_entries (
    seq INTEGER NOT NULL, run_id VARCHAR(64) NOT NULL, attempt INTEGER NOT NULL,
    at VARCHAR(32) NOT NULL, kind VARCHAR(16) NOT NULL, step VARCHAR(200) NOT NULL,
    phase VARCHAR(16) NOT NULL, cluster VARCHAR(64) NOT NULL, host VARCHAR(64) NOT NULL,
    actor VARCHAR(128) NOT NULL, via VARCHAR(32) NOT NULL, payload TEXT NOT NULL,
    prev_hash VARCHAR(64), hash VARCHAR(64), signature TEXT, PRIMARY KEY (seq));
CREATE UNIQUE INDEX journal_one_decision
    ON journal_entries (run_id, kind, step) WHERE phase = 'decision';
CREATE INDEX ix_journal_entries_run_id ON journal_entries (run_id);
CREATE INDEX journal_by_kind ON journal_entries (kind, cluster, seq);
CREATE UNIQUE INDEX journal_one_outcome
    ON journal_entries (run_id, kind, step) WHERE phase = 'outcome';
CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal_entries
    BEGIN SELECT RAISE(ABORT, 'journal entries are never changed or deleted'); END;
CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal_entries
    BEGIN SELECT RAISE(ABORT, 'journal entries are never changed or deleted'); END;
INSERT INTO journal_head VALUES (1, 3, NULL);
INSERT INTO journal_runs VALUES ('r1', 'zero', 'lab', '{"cluster":"lab"}', 'ann', 'prefect',
    '2026-11-22T10:00:00.000000+00:00', 1);
INSERT INTO journal_entries VALUES (1, 'r1', 1, '2026-11-22T10:00:00.000000+00:00', 'run', 'zero',
    'attempt', 'lab', '', 'ann', 'prefect', '{"parameters":{"cluster":"lab"}}', NULL, NULL, NULL);
INSERT INTO journal_entries VALUES (2, 'r1', 1, '2026-11-22T10:00:01.000000+00:00', 'lock', 'lab',
    'taken', 'lab', '', 'ann', '', '{}', NULL, NULL, NULL);
INSERT INTO journal_entries VALUES (3, 'r1', 1, '2026-11-22T10:00:02.000000+00:00', 'look', 'a',
    'outcome', 'lab', '', '', '', '{"value":7}', NULL, NULL, NULL);
"""


@pytest.fixture
def earlier(tmp_path: Path) -> sqlite3.Connection:
    raw = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    raw.executescript(EARLIER)
    return raw


def opened(tmp_path: Path) -> Journal:
    return Journal(f"sqlite:///{tmp_path / 'journal.db'}")


def test_it_is_sealed_once_and_the_chain_goes_on(
    earlier: sqlite3.Connection, tmp_path: Path
) -> None:
    before = earlier.execute("SELECT * FROM journal_entries").fetchall()
    opened(tmp_path)
    journal = opened(tmp_path)
    seal = journal.entries()[-1]
    assert (seal.seq, seal.kind, seal.phase) == (4, Kind.JOURNAL, Phase.SEALED)
    assert (seal.payload["entries"], seal.payload["last_seq"]) == (3, 3)
    assert earlier.execute("SELECT * FROM journal_entries WHERE seq < 4").fetchall() == before
    run = Run("r1", "zero", "lab", {"cluster": "lab"}, "ann", "test", datetime.now(UTC), 0)
    attempt = journal.open_run(run).attempt
    journal.append(Draft("r1", Kind.LOOK, "b", Phase.OUTCOME, attempt=attempt))
    assert attempt == 2
    found = journal.find("r1", Kind.LOOK, "a", Phase.OUTCOME)
    assert found is not None
    assert found.payload == {"value": 7}
    assert said(verify_journal(journal)) == []
    assert said(verify_lines(export_lines(journal))) == []


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE journal_entries SET payload = '{}' WHERE seq = 3",
        "DELETE FROM journal_entries WHERE seq = 2",
        "UPDATE journal_entries SET actor = 'eve' WHERE seq = 1",
    ],
)
def test_sealed_entries_are_as_safe_as_later_ones(
    earlier: sqlite3.Connection, tmp_path: Path, tampering: str
) -> None:
    journal = opened(tmp_path)
    tamper(earlier, tampering)
    assert any(
        each.startswith("4: one of the entries up to 3, which were written before entries had")
        for each in said(verify_journal(journal))
    )


def test_an_entry_without_a_hash_after_the_seal_is_a_fault(
    earlier: sqlite3.Connection, tmp_path: Path
) -> None:
    journal = opened(tmp_path)
    tamper(
        earlier,
        "INSERT INTO journal_entries SELECT 5, run_id, attempt, at, kind, 'x', 'note', cluster,"
        " host, actor, via, payload, NULL, NULL, NULL FROM journal_entries WHERE seq = 3",
        "UPDATE journal_head SET seq = 5",
    )
    assert "5: has no hash: it was not written by this program (put in)" in said(
        verify_journal(journal)
    )


def test_the_program_of_before_is_refused_afterwards(
    earlier: sqlite3.Connection, tmp_path: Path
) -> None:
    opened(tmp_path)
    with pytest.raises(sqlite3.IntegrityError, match="kept by a newer version of the program"):
        earlier.execute(
            "INSERT INTO journal_entries SELECT 5, run_id, attempt, at, kind, 'x', 'note', cluster,"
            " host, actor, via, payload, NULL, NULL, NULL FROM journal_entries WHERE seq = 3"
        )


def test_a_chain_whose_identity_is_gone_is_not_sealed_over(
    earlier: sqlite3.Connection, tmp_path: Path
) -> None:
    opened(tmp_path)
    earlier.execute("DELETE FROM journal_identity")
    with pytest.raises(JournalError, match="its identity is gone"):
        opened(tmp_path)
