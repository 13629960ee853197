"""The whiteboard as rows that people read, and that a journal can keep."""

from collections.abc import Sequence
from dataclasses import dataclass

from ha.core.record import (
    BLOCK_BYTES,
    RANGE_BYTES,
    GlobalRecord,
    Record,
    Verdict,
    judge_whiteboard,
)
from tasks.hosts import HostLook

LONGEST_MESSAGE = 200
# Of a whole file of garbage, two thousand rows say no more than these, and nobody reads them.
MOST_ROWS = 60
EMPTY = bytes(BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One block that is not empty."""

    host_id: int
    verdict: str
    bad: bool
    hostname: str = ""
    state: str = ""
    vm: str = ""
    health: str = ""
    score: int | None = None
    stopped: bool | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The cluster at one moment: hosts by their own word, whiteboard by a raw read."""

    taken_at: str
    global_maintenance: bool
    hosts: tuple[HostLook, ...]
    rows: tuple[BlockRow, ...]


def block_rows(data: bytes) -> tuple[BlockRow, ...]:
    """Return one row a block of a raw read; empty blocks have none."""
    rows = hidden_rows(data)
    for block in judge_whiteboard(data):
        record = block.record
        if isinstance(record, Record):
            rows.append(_host_row(record, block.verdict.value))
        elif isinstance(record, GlobalRecord):
            said = {True: "maintenance=1", False: "maintenance=0", None: "no flag"}
            rows.append(
                BlockRow(0, block.verdict.value, False, "(cluster)", said[record.maintenance])
            )
        else:
            room = LONGEST_MESSAGE if len(rows) < MOST_ROWS else 0
            message = (block.message or "")[:room]
            # A bad block is garbage: what it "says" must not break the table it is shown in.
            shown = "".join(c if c.isprintable() else "?" for c in message)
            rows.append(BlockRow(block.host_id, block.verdict.value, block.bad, message=shown))
    return tuple(sorted(rows, key=lambda row: row.host_id))


def hidden_rows(data: bytes) -> list[BlockRow]:
    """Return the blocks that pass as empty, and still stop upstream's brokers.

    A first byte of NUL hides a block from every agent; but upstream's broker decodes the whole
    range at once, and one byte that is not UTF-8 ends it ("Corrupted metadata"). On recycled
    storage one block in 256 is like this.
    """
    rows = []
    for host_id, start in enumerate(range(0, min(len(data), RANGE_BYTES), BLOCK_BYTES)):
        block = data[start : start + BLOCK_BYTES]
        if block[0] != 0 or block == EMPTY:
            continue
        try:
            block.decode()
        except UnicodeDecodeError as error:
            message = f"Hidden by a first NUL, and not UTF-8 at byte {error.start}"
            rows.append(BlockRow(host_id, Verdict.UNREADABLE.value, bad=True, message=message))
    return rows


def bad_ids(rows: Sequence[BlockRow]) -> tuple[int, ...]:
    """Return the host ids of the bad blocks."""
    return tuple(row.host_id for row in rows if row.bad)


def blocks_markdown(rows: Sequence[BlockRow]) -> str:
    """Return the block table in Markdown."""
    lines = [
        "| block | verdict | host | state | engine VM | score | remark |",
        "|---|---|---|---|---|---|---|",
    ]
    shown = rows if len(rows) <= MOST_ROWS else [*[r for r in rows if not r.bad], *_few(rows)]
    for row in sorted(shown, key=lambda row: row.host_id):
        verdict = f"**{row.verdict}**" if row.bad else row.verdict
        engine = f"{row.vm}, {row.health}" if row.vm else ""
        score = "" if row.score is None else str(row.score)
        remark = row.message or ("stopped cleanly" if row.stopped else "")
        cells = (str(row.host_id), verdict, row.hostname, row.state, engine, score, remark)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    hidden = len(rows) - len(shown)
    if hidden:
        lines.append(f"\n... and {hidden} more blocks that are bad, of {len(bad_ids(rows))} in all")
    return "\n".join(lines)


def snapshot_markdown(title: str, snapshot: Snapshot) -> str:
    """Return a cluster status in Markdown: hosts, then blocks."""
    maintenance = "ON" if snapshot.global_maintenance else "off"
    lines = [
        f"## {title}",
        f"{snapshot.taken_at}, global maintenance {maintenance}\n",
        "| host | id | agent | broker | engine VM here | local maintenance | version |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {host.host} | {host.host_id} | {host.agent} | {host.broker} | {host.domain or '-'} "
        f"| {'yes' if host.local_maintenance else 'no'} | {host.version} |"
        for host in snapshot.hosts
    ]
    return "\n".join([*lines, "", blocks_markdown(snapshot.rows)])


def _few(rows: Sequence[BlockRow]) -> list[BlockRow]:
    """Return the first bad rows."""
    return [row for row in rows if row.bad][:MOST_ROWS]


def _host_row(record: Record, verdict: str) -> BlockRow:
    return BlockRow(
        host_id=record.host_id,
        verdict=verdict,
        bad=False,
        hostname=record.hostname,
        state=record.state or "",
        vm=record.vm or "",
        health=record.health or "",
        score=record.score,
        stopped=record.stopped,
    )
