"""`runbook audit verify` finds every kind of tampering; each is done here with the database raw."""

import sqlite3

import pytest

from tasks.audit_heads import KeptHead, KeptHeads
from tasks.audit_verify import verify_journal
from tasks.journal import Journal
from tasks.journal_chain import genesis, link
from tasks.journal_tables import EntryRow
from tests.tasks.tampering import LAST, TRIGGERS, said, tamper


def rehash(raw: sqlite3.Connection, journal: Journal, after: int) -> None:
    """Compute the chain anew from an entry on, head and all, as a tamperer would who knows how."""
    prev_hash = genesis(journal.journal_id())
    with journal.reading() as session:
        rows = [session.get_one(EntryRow, seq) for seq in range(1, journal.head()[0] + 1)]
    for row in rows:
        if row.seq > after:
            columns = {c.name: getattr(row, c.name) for c in EntryRow.__table__.columns}
            row_hash = link(prev_hash, columns)
            tamper(
                raw,
                f"UPDATE journal_entries SET prev_hash = '{prev_hash}', hash = '{row_hash}'"
                f" WHERE seq = {row.seq}",
                f"UPDATE journal_head SET hash = '{row_hash}'",
            )
            prev_hash = row_hash
        else:
            prev_hash = str(row.hash)


EDITED = {
    "run_id": "'r9'",
    "attempt": "2",
    "at": "'2026-11-22T00:00:00.000000+00:00'",
    "kind": "'check'",
    "step": "'else'",
    "phase": "'note'",
    "cluster": "'prod'",
    "host": "'h2'",
    "actor": "'eve'",
    "via": "'eve'",
    "payload": "replace(payload, 'r1', 'rx')",
    "signature": "'forged'",
}


def test_every_column_has_its_tampering() -> None:
    columns = {column.name for column in EntryRow.__table__.columns}
    assert columns - {"seq", "prev_hash", "hash"} == set(EDITED)


@pytest.mark.parametrize("column", EDITED)
def test_an_edited_entry_is_named(whole: Journal, raw: sqlite3.Connection, column: str) -> None:
    tamper(raw, f"UPDATE journal_entries SET {column} = {EDITED[column]} WHERE seq = 3")
    assert "3: was changed: its hash is not that of its content" in said(verify_journal(whole))


def test_an_edit_with_its_hash_made_anew_shows_at_the_next(
    whole: Journal, raw: sqlite3.Connection
) -> None:
    tamper(raw, "UPDATE journal_entries SET actor = 'eve' WHERE seq = 3")
    with whole.reading() as session:
        row = session.get_one(EntryRow, 3)
        columns = {c.name: getattr(row, c.name) for c in EntryRow.__table__.columns}
    forged = link(str(row.prev_hash), columns)
    tamper(raw, f"UPDATE journal_entries SET hash = '{forged}' WHERE seq = 3")
    (fault,) = verify_journal(whole).faults
    assert fault.seq == 4
    assert "does not follow entry 3" in fault.what


def test_a_removed_entry_is_named(whole: Journal, raw: sqlite3.Connection) -> None:
    tamper(raw, "DELETE FROM journal_entries WHERE seq = 3")
    first, second = said(verify_journal(whole))
    assert first == "4: entry 3 is not there before it (removed)"
    assert second.startswith("4: does not follow entry 2: the entry that it was written after")


def test_removed_with_the_gap_closed_is_named(whole: Journal, raw: sqlite3.Connection) -> None:
    tamper(
        raw,
        "DELETE FROM journal_entries WHERE seq = 3",
        *(f"UPDATE journal_entries SET seq = {n - 1} WHERE seq = {n}" for n in range(4, LAST + 1)),
        f"UPDATE journal_head SET seq = {LAST - 1}",
    )
    found = said(verify_journal(whole))
    assert any(each.startswith("3: does not follow entry 2") for each in found)
    assert "3: was moved: it was written as entry 4" in found


def test_an_inserted_entry_is_named(whole: Journal, raw: sqlite3.Connection) -> None:
    copied = "run_id, attempt, at, kind, 'put in', phase, cluster, host, actor, via, payload"
    tamper(
        raw,
        *(f"UPDATE journal_entries SET seq = {n + 1} WHERE seq = {n}" for n in range(LAST, 3, -1)),
        f"INSERT INTO journal_entries SELECT 4, {copied}, prev_hash, hash, signature"
        " FROM journal_entries WHERE seq = 3",
        f"UPDATE journal_head SET seq = {LAST + 1}",
    )
    found = said(verify_journal(whole))
    assert "4: was changed: its hash is not that of its content" in found
    assert "5: was moved: it was written as entry 4" in found


def test_an_entry_put_in_at_the_end_is_named(whole: Journal, raw: sqlite3.Connection) -> None:
    copied = "run_id, attempt, at, kind, 'put in', phase, cluster, host, actor, via, payload"
    put_in = f"INSERT INTO journal_entries SELECT {LAST + 1}, {copied}, NULL, NULL, NULL"
    tamper(raw, f"{put_in} FROM journal_entries WHERE seq = 3")
    found = said(verify_journal(whole))
    assert f"{LAST + 1}: has no hash: it was not written by this program (put in)" in found
    assert f"{LAST + 1}: is beyond the head, which ends at entry {LAST} (put in)" in found


def test_exchanged_entries_are_named(whole: Journal, raw: sqlite3.Connection) -> None:
    tamper(
        raw,
        "UPDATE journal_entries SET seq = 99 WHERE seq = 3",
        "UPDATE journal_entries SET seq = 3 WHERE seq = 6",
        "UPDATE journal_entries SET seq = 6 WHERE seq = 99",
    )
    found = said(verify_journal(whole))
    assert "3: was moved: it was written as entry 6" in found
    assert "6: was moved: it was written as entry 3" in found


def test_a_cut_tail_is_named_by_the_head(whole: Journal, raw: sqlite3.Connection) -> None:
    tamper(raw, "DELETE FROM journal_entries WHERE seq > 6")
    assert said(verify_journal(whole))[0].startswith("8: the head says that this is the last one")
    assert "entries 7 to 8 are not there" in said(verify_journal(whole))[0]


def kept(journal: Journal, *seqs: int) -> KeptHeads:
    with journal.reading() as session:
        rows = [session.get_one(EntryRow, seq) for seq in seqs]
        heads = tuple(KeptHead("h1", row.seq, str(row.hash), "2026-11-22") for row in rows)
    return KeptHeads("lab", heads, ())


def test_a_cut_tail_with_the_head_put_back_is_named_by_a_host(
    whole: Journal, raw: sqlite3.Connection
) -> None:
    heads = kept(whole, 4, LAST)
    ((digest,),) = raw.execute("SELECT hash FROM journal_entries WHERE seq = 4")
    tamper(
        raw,
        "DELETE FROM journal_entries WHERE seq > 4",
        "DELETE FROM journal_runs WHERE run_id = 'r2'",
        f"UPDATE journal_head SET seq = 4, hash = '{digest}'",
    )
    assert verify_journal(whole).faults == ()  # which is why the hosts are asked
    (fault,) = verify_journal(whole, [heads]).faults
    assert fault.seq == 4
    assert "the tail was cut: h1 keeps the hash of entry 8" in fault.what


def test_a_chain_made_anew_is_named_by_a_host(whole: Journal, raw: sqlite3.Connection) -> None:
    heads = kept(whole, 2, 5, LAST)
    tamper(raw, "UPDATE journal_entries SET payload = '{}' WHERE seq = 3")
    rehash(raw, whole, after=2)
    assert verify_journal(whole).faults == ()
    (fault,) = verify_journal(whole, [heads]).faults
    assert fault.seq == 5
    assert "h1 keeps another hash for this entry" in fault.what


def test_another_head_is_named(whole: Journal, raw: sqlite3.Connection) -> None:
    tamper(raw, f"UPDATE journal_head SET hash = '{'0' * 64}'")
    assert said(verify_journal(whole)) == [f"{LAST}: the head has another hash for the last entry"]


def test_a_journal_given_another_id_is_named(whole: Journal, raw: sqlite3.Connection) -> None:
    tamper(raw, "UPDATE journal_identity SET journal_id = 'x'")
    assert said(verify_journal(whole))[0].startswith("1: does not follow entry 0")


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_removed_trigger_is_named(whole: Journal, raw: sqlite3.Connection, trigger: str) -> None:
    raw.execute(f"DROP TRIGGER {trigger}")
    assert trigger in said(verify_journal(whole))[0]


RUN_EDITS = {
    "runbook": "'else'",
    "cluster": "'prod'",
    "parameters": """'{"cluster":"prod"}'""",
    "actor": "'eve'",
    "via": "'eve'",
    "started_at": "'2026-01-01T00:00:00.000000+00:00'",
    "attempt": "7",
}


@pytest.mark.parametrize("column", RUN_EDITS)
def test_the_table_of_runs_cannot_lie(whole: Journal, raw: sqlite3.Connection, column: str) -> None:
    raw.execute(f"UPDATE journal_runs SET {column} = {RUN_EDITS[column]} WHERE run_id = 'r2'")
    (fault,) = verify_journal(whole).faults
    assert fault.seq == 5
    assert f"the table of runs has {column}" in fault.what


def test_a_run_removed_or_put_in_is_named(whole: Journal, raw: sqlite3.Connection) -> None:
    raw.execute("UPDATE journal_runs SET run_id = 'r9' WHERE run_id = 'r2'")
    found = said(verify_journal(whole))
    assert found == [
        "0: run r9 is in the table of runs and has no entry (put in)",
        "5: run r2 was removed from the table of runs",
    ]
