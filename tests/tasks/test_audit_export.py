"""An export is verified alone, whatever was done to it; nonsense is a fault and no crash."""

import json
import sqlite3
from collections.abc import Callable

import pytest

from tasks.audit_export import NotAnExport, export_lines, verify_lines
from tasks.audit_verify import verify_journal
from tasks.journal import Journal
from tasks.journal_chain import canonical
from tests.tasks.tampering import LAST, said, tamper


@pytest.mark.parametrize(
    ("column", "value"),
    [("payload", "x'00ff'"), ("payload", "'no json'"), ("at", "'today'"), ("kind", "'?'")],
)
def test_nonsense_is_a_fault_and_no_crash(
    whole: Journal, raw: sqlite3.Connection, column: str, value: str
) -> None:
    for seq in (1, 3):
        tamper(raw, f"UPDATE journal_entries SET {column} = {value} WHERE seq = {seq}")
    assert {1, 3} <= {fault.seq for fault in verify_journal(whole).faults}
    assert {1, 3} <= {fault.seq for fault in verify_lines(export_lines(whole)).faults}


def test_an_export_is_verified_alone(whole: Journal) -> None:
    lines = list(export_lines(whole))
    verdict = verify_lines(lines)
    assert verdict.faults == ()
    assert (verdict.entries, verdict.head_seq) == (LAST, LAST)
    assert json.loads(lines[2])["payload"] == {"n": 1.5, "value": "r1 a ü"}


EXPORT_TAMPERING: dict[str, tuple[Callable[[list[str]], None], str]] = {
    "edited": (
        lambda lines: lines.__setitem__(3, lines[3].replace("r1 b", "r1 x")),
        "3: was changed",
    ),
    "removed": (lambda lines: lines.__delitem__(3), "4: entry 3 is not there before it"),
    "inserted": (lambda lines: lines.insert(4, lines[3]), "3: is there again after entry 3"),
    "reordered": (
        lambda lines: lines.__setitem__(slice(3, 5), [lines[4], lines[3]]),
        "4: entry 3 is not there before it",
    ),
    "cut": (lambda lines: lines.__delitem__(slice(7, None)), "8: the head says"),
}


@pytest.mark.parametrize("how", EXPORT_TAMPERING)
def test_a_tampered_export_is_named(whole: Journal, how: str) -> None:
    lines = list(export_lines(whole))
    do, expected = EXPORT_TAMPERING[how]
    do(lines)
    assert said(verify_lines(lines))[0].startswith(expected)


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"format": "x"}'])
def test_what_is_no_export_is_refused(text: str) -> None:
    with pytest.raises(NotAnExport, match="line 1"):
        verify_lines([text])


def test_the_hash_is_what_the_documentation_says(whole: Journal) -> None:
    """From the exported line alone, with nothing of this program but json and sha256."""
    import hashlib  # noqa: PLC0415

    head, line, *_ = (json.loads(each) for each in export_lines(whole))
    first = f"hosted-engine-runbooks journal {head['journal_id']}".encode()
    prev_hash = hashlib.sha256(first).hexdigest()
    assert line.pop("prev_hash") == prev_hash
    written = line.pop("hash")
    line["payload"] = canonical(line["payload"])
    text = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(f"{prev_hash}\n{text}".encode()).hexdigest() == written
