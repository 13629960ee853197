"""Is the chain whole? Reads entries one by one, from the journal or an export, and names faults.

A fault names the entry (seq) at which it shows. Nothing is read twice and little is kept, so a
journal of any length can be checked.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tasks.journal_chain import COLUMNS, link
from tasks.journal_records import Kind, Phase

MOVED_WITHIN = 200  # entries: how far a moved one is looked for
FAULTS_MAX = 200  # of a chain that is wrong all over, the first ones are enough
CLOCK_BACK_SECONDS = 1.0  # told as a remark from here on: several writers' clocks differ a little

Columns = Mapping[str, Any]  # a row: COLUMNS, prev_hash and hash


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong; seq 0 is the journal as a whole."""

    seq: int
    what: str


@dataclass(slots=True)
class ChainCheck:
    """The check of one chain, fed with entries in the order of their seq."""

    genesis: str
    faults: list[Fault] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    seq: int = 0
    hash: str = ""
    entries: int = 0
    unsealed: list[int] = field(default_factory=list)
    seqs: dict[str, int] = field(default_factory=dict)
    _at: datetime | None = None

    def __post_init__(self) -> None:
        """Begin at the genesis."""
        self.hash = self.genesis

    def feed(self, rows: Iterable[Columns]) -> None:
        """Check further entries."""
        for row in rows:
            self._feed(row)

    def _feed(self, row: Columns) -> None:
        seq = row["seq"]
        self.entries += 1
        if seq != self.seq + 1:
            self._fault(seq, _gap(self.seq, seq))
        if row["hash"] is None:
            # Of an earlier version, so it must be sealed; or put in from outside.
            self.unsealed.append(seq)
            self.hash = link(self.hash, row)
        else:
            self._linked(row)
            self.hash = row["hash"]
            self.seqs[self.hash] = seq
        self._clock(row)
        self.seq = seq

    def _linked(self, row: Columns) -> None:
        seq = row["seq"]
        if row["kind"] == Kind.JOURNAL.value and row["phase"] == Phase.SEALED.value:
            self._sealed(row)
        elif row["prev_hash"] != self.hash:
            self._fault(seq, self._not_following(row))
        if len(self.faults) < FAULTS_MAX and link(row["prev_hash"] or "", row) != row["hash"]:
            self._fault(seq, _changed(row))

    def _sealed(self, row: Columns) -> None:
        seal = _payload(row)
        said = (seal.get("last_seq"), seal.get("sha256"), row["prev_hash"])
        if said != (self.seq, self.hash, self.hash):
            self._fault(
                row["seq"],
                f"one of the entries up to {self.seq}, which were written before entries had"
                " hashes and are sealed here, was changed, removed or put in",
            )
        self.unsealed.clear()

    def _not_following(self, row: Columns) -> str:
        follows = self.seqs.get(row["prev_hash"] or "")
        if row["prev_hash"] == self.genesis:
            said = "it was written as the first one"
        elif follows is not None:
            said = f"it was written after what is now entry {follows}"
        else:
            said = "the entry that it was written after is not there any more"
        return f"does not follow entry {self.seq}: {said} (changed, removed or out of order)"

    def _clock(self, row: Columns) -> None:
        at = _time(row)
        if at is None:
            self._fault(row["seq"], f"its time is not one: {row['at']!r}")
            return
        if self._at is not None and self._at - at > timedelta(seconds=CLOCK_BACK_SECONDS):
            back = (self._at - at).total_seconds()
            self.remarks.append(
                f"entry {row['seq']}: the clock had been put back by {back:.0f} s; order is by seq"
            )
        self._at = at

    def finish(self, head_seq: int, head_hash: str) -> None:
        """Compare the last entry with what the head says is the last."""
        for seq in self.unsealed:
            self._fault(seq, "has no hash: it was not written by this program (put in)")
        if self.seq < head_seq:
            lost = (
                f"entries {self.seq + 1} to {head_seq} are"
                if head_seq - self.seq > 1
                else (f"entry {head_seq} is")
            )
            self._fault(head_seq, f"the head says that this is the last one, but {lost} not there")
        elif self.seq > head_seq:
            self._fault(self.seq, f"is beyond the head, which ends at entry {head_seq} (put in)")
        elif head_hash != self.hash:
            self._fault(self.seq, "the head has another hash for the last entry")

    def _fault(self, seq: int, what: str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Fault(seq, what))


def _gap(before: int, seq: int) -> str:
    if seq <= before:
        return f"is there again after entry {before}"
    gone = f"entry {seq - 1} is" if seq - before == 2 else f"entries {before + 1} to {seq - 1} are"  # noqa: PLR2004
    return f"{gone} not there before it (removed)"


def _changed(row: Columns) -> str:
    """Say how an entry differs from the one that was hashed: moved, if that explains it."""
    prev_hash, seq = row["prev_hash"] or "", row["seq"]
    for distance in range(1, MOVED_WITHIN):
        for other in (seq - distance, seq + distance):
            if link(prev_hash, {**row, "seq": other}) == row["hash"]:
                return f"was moved: it was written as entry {other}"
    return "was changed: its hash is not that of its content"


def _payload(row: Columns) -> Mapping[str, Any]:
    try:
        found = json.loads(row["payload"])
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _time(row: Columns) -> datetime | None:
    try:
        at = datetime.fromisoformat(row["at"])
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo is not None else None


def plain_columns(row: Any) -> dict[str, Any]:
    """Return what a check needs of a stored row, whatever was put into it."""
    found = {name: getattr(row, name) for name in (*COLUMNS, "prev_hash", "hash")}
    return {k: v if v is None or isinstance(v, str | int) else repr(v) for k, v in found.items()}


def in_order(faults: Iterable[Fault]) -> Iterator[Fault]:
    """Yield faults by the entry at which they show."""
    yield from sorted(faults, key=lambda fault: fault.seq)
