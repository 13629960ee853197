"""`runbook audit verify`: the journal against itself, its runs, and what the hosts keep of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tasks.audit_approvals import approval_faults
from tasks.audit_chain import ChainCheck, Fault, plain_columns
from tasks.audit_heads import KeptHeads
from tasks.journal import Journal, Kind, Phase
from tasks.journal_chain import canonical, genesis
from tasks.journal_records import entry_of
from tasks.journal_tables import EntryRow, HeadRow, IdentityRow, RunRow, missing_guards

ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found: faults, remarks that are none, and what could not be asked."""

    journal_id: str
    entries: int
    head_seq: int
    head_hash: str
    faults: tuple[Fault, ...]
    remarks: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()


def verify_journal(journal: Journal, kept: Iterable[KeptHeads] = ()) -> Verdict:
    """Check the whole journal and its approvals, and compare it with the heads that hosts keep."""
    with journal.reading() as session:
        _at_one_moment(session)
        journal_id = session.get_one(IdentityRow, 1).journal_id
        head = session.get_one(HeadRow, 1)
        check = ChainCheck(genesis(journal_id))
        wanted = select(EntryRow).order_by(EntryRow.seq).execution_options(yield_per=ROWS_AT_ONCE)
        for rows in session.scalars(wanted).partitions():
            check.feed(map(plain_columns, rows))
            session.expunge_all()
        check.finish(head.seq, head.hash or "")
        faults = [*check.faults, *_guards(session), *_runs(session)]
        remarks, troubles = list(check.remarks), list[str]()
        for each in kept:
            faults.extend(_heads(session, head.seq, each))
            remarks.extend(each.remarks)
            troubles.extend(each.troubles)
    faults.extend(approval_faults(journal))
    faults.sort(key=lambda fault: fault.seq)
    return Verdict(
        journal_id,
        check.entries,
        head.seq,
        head.hash or "",
        tuple(faults),
        tuple(remarks),
        tuple(troubles),
    )


def _at_one_moment(session: Session) -> None:
    """Let all reads of the session see one state, whoever appends meanwhile."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def _guards(session: Session) -> Iterator[Fault]:
    for name in missing_guards(session.connection()):
        yield Fault(0, f"the trigger {name}, which keeps entries from being changed, was removed")


def _runs(session: Session) -> Iterator[Fault]:
    """Compare the table of runs, which is no part of the chain, with the entries."""
    rows = {row.run_id: row for row in session.scalars(select(RunRow))}
    first: dict[str, EntryRow] = {}
    attempts: dict[str, int] = {}
    wanted = (
        select(EntryRow)
        .where(
            EntryRow.kind == Kind.RUN.value,
            EntryRow.phase.in_([Phase.ATTEMPT.value, Phase.ENDED.value]),
        )
        .order_by(EntryRow.seq)
    )
    for entry in session.scalars(wanted):
        if entry.phase == Phase.ATTEMPT.value:
            first.setdefault(entry.run_id, entry)
        attempts[entry.run_id] = max(entry.attempt, attempts.get(entry.run_id, 0))
    for run_id, entry in first.items():
        if run_id not in rows:
            yield Fault(entry.seq, f"run {run_id} was removed from the table of runs")
        else:
            yield from _differing(rows[run_id], entry, attempts[run_id])
    for run_id in rows.keys() - first.keys():
        yield Fault(0, f"run {run_id} is in the table of runs and has no entry (put in)")


def _differing(row: RunRow, entry: EntryRow, attempt: int) -> Iterator[Fault]:
    said = _said(entry)
    began: dict[str, Any] = {
        "runbook": entry.step,
        "cluster": entry.cluster,
        "actor": entry.actor,
        "via": entry.via,
        "parameters": canonical(said.get("parameters")),
        "started_at": said.get("started_at", row.started_at),  # not in an earlier version's
        "attempt": attempt,
    }
    for name, value in began.items():
        found = getattr(row, name)
        if found != value:
            yield Fault(
                entry.seq,
                f"the table of runs has {name} {found!r} for run {row.run_id}, its first entry"
                f" {value!r}",
            )


def _said(entry: EntryRow) -> Mapping[str, Any]:
    try:
        return entry_of(entry).payload
    except ValueError:  # changed to what is no JSON; the chain tells of it
        return {}


def _heads(session: Session, last_seq: int, kept: KeptHeads) -> Iterator[Fault]:
    wanted = {head.seq for head in kept.heads}
    rows = session.execute(
        select(EntryRow.seq, EntryRow.hash).where(EntryRow.seq.in_(wanted))
    ).all()
    hashes: dict[int, str | None] = {seq: found for seq, found in rows}
    cut = [head for head in kept.heads if head.seq > last_seq]
    for head in _one_a_host(sorted(cut, key=lambda each: -each.seq)):
        yield Fault(
            last_seq,
            f"the tail was cut: {head.host} keeps the hash of entry {head.seq} ({head.at}), and"
            f" the journal ends at {last_seq}",
        )
    other = [
        head for head in kept.heads if head.seq <= last_seq and hashes.get(head.seq) != head.hash
    ]
    for head in _one_a_host(sorted(other, key=lambda each: each.seq)):
        yield Fault(
            head.seq,
            f"{head.host} keeps another hash for this entry ({head.at}): the journal was"
            " rewritten here or before",
        )


def _one_a_host(heads: Iterable[Any]) -> Iterator[Any]:
    told: set[str] = set()
    for head in heads:
        if head.host not in told:
            told.add(head.host)
            yield head
