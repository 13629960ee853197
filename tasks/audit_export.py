"""The journal as JSON Lines, and the check of such a file on its own.

The first line says which journal it is and where it ends; then one line an entry, in order. The
payload is given as JSON; its canonical text is what the hash was taken over.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from tasks.audit_chain import ChainCheck, plain_columns
from tasks.audit_verify import ROWS_AT_ONCE, Verdict
from tasks.journal import Journal
from tasks.journal_chain import COLUMNS, canonical, genesis
from tasks.journal_tables import EntryRow

FORMAT = "hosted-engine-runbooks journal 1"


class NotAnExport(Exception):
    """A file is not an export of a journal; raised by verify_lines."""


def export_lines(journal: Journal) -> Iterator[str]:
    """Yield the lines of an export, without line ends."""
    seq, digest = journal.head()
    yield canonical(
        {
            "format": FORMAT,
            "journal_id": journal.journal_id(),
            "head_seq": seq,
            "head_hash": digest,
            "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
    wanted = select(EntryRow).where(EntryRow.seq <= seq).order_by(EntryRow.seq)
    with journal.reading() as session:
        rows = session.scalars(wanted.execution_options(yield_per=ROWS_AT_ONCE))
        for part in rows.partitions():
            for row in part:
                columns = plain_columns(row)
                yield canonical({**columns, "payload": _as_json(columns["payload"])})
            session.expunge_all()


def verify_lines(lines: Iterable[str]) -> Verdict:
    """Check an export alone, without its journal. Raises: NotAnExport."""
    numbered = iter(enumerate(lines, 1))
    head = next((_object(number, line) for number, line in numbered), {})
    if head.get("format") != FORMAT:
        raise NotAnExport(f"line 1 does not say that this is a {FORMAT!r}")
    try:
        head_seq, head_hash = int(head["head_seq"]), str(head["head_hash"])
        check = ChainCheck(genesis(str(head["journal_id"])))
    except (KeyError, TypeError, ValueError) as error:
        raise NotAnExport(f"line 1: {type(error).__name__}: {error}") from error
    check.feed(_columns(number, _object(number, line)) for number, line in numbered)
    check.finish(head_seq, head_hash)
    return Verdict(
        str(head["journal_id"]),
        check.entries,
        head_seq,
        head_hash,
        tuple(check.faults),
        tuple(check.remarks),
    )


def _as_json(payload: Any) -> Any:
    """Return the payload's value; its text where that is not what we would write of it."""
    try:
        value = json.loads(payload)
    except (TypeError, ValueError):
        return payload
    return value if canonical(value) == payload else payload


def _object(number: int, line: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise NotAnExport(f"line {number} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise NotAnExport(f"line {number} is not a JSON object")
    return value


def _columns(number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    missing = [name for name in (*COLUMNS, "prev_hash", "hash") if name not in entry]
    if missing or not isinstance(entry["seq"], int):
        raise NotAnExport(f"line {number} is no entry: {', '.join(missing) or 'seq'} is missing")
    payload = entry["payload"]
    return {**entry, "payload": payload if isinstance(payload, str) else canonical(payload)}
