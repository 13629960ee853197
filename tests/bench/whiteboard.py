"""Bytes and processor time of a whiteboard turn: read the others, judge them, write one's own.

All of it runs in this process and on one file, past the caches, ours and the one beside it by
turns, so that what else the machine does meets both.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ha.core.record import BLOCK_BYTES, RANGE_BYTES, Record, encode_global, encode_record
from ha.core.timing import Timing
from ha.env.whiteboard import StorageWhiteboard
from ha.observe import Known, look_at_whiteboard
from tests.bench.table import Row
from tests.bench.whole_range import read_whole_range, write_own

HOSTS = (3, 64, 250)
OURS = 1
ENGINE = '{"vm": "down", "health": "bad", "detail": "Down", "reason": "bad vm status"}'
EXTRA = "metadata_parse_version=1\nstate=EngineDown\nstopped=False\nwhy=It runs on host 2 [r]\n"
AIM_BYTES, AIM_SECONDS = 20 * 1024, 0.0004
MS = 1000


class CountedFile:
    """The whiteboard of a broker, and what goes through it; it stands for the broker as well."""

    def __init__(self, path: Path) -> None:
        self._storage = StorageWhiteboard(path)
        self.bytes = 0

    def read_blocks(self, host_ids: list[int] | None) -> dict[int, bytes]:
        self.bytes += RANGE_BYTES if host_ids is None else len(host_ids) * BLOCK_BYTES
        return dict(self._storage.read_blocks(host_ids))

    def write_block(self, host_id: int, block: bytes) -> None:
        self.bytes += 2 * BLOCK_BYTES  # it is read back
        self._storage.write_block(host_id, block)


def block_of(host_id: int, timestamp: int) -> bytes:
    """What such a host writes."""
    name = f"host{host_id}.example.com"
    return encode_record(
        Record(
            host_id=host_id,
            timestamp=timestamp,
            score=3400,
            engine_status=ENGINE,
            hostname=name,
            maintenance=False,
            stopped=False,
            conf_on_shared_storage=True,
            local_conf_timestamp=timestamp,
            extra=EXTRA,
        )
    )


def measure(hosts: tuple[int, ...] = HOSTS, turns: int = 60) -> Iterator[Row]:
    """Yield two rows for each number of hosts."""
    for count in hosts:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            path = Path(folder) / "hosted-engine.metadata"
            fill(path, count)
            yield from _rows(path, count, turns)


def fill(path: Path, count: int) -> None:
    """Write the whiteboard of so many hosts."""
    with path.open("wb") as storage:
        storage.write(encode_global(False))
        storage.writelines(block_of(host_id, 100) for host_id in range(1, count + 1))
        storage.write(bytes(RANGE_BYTES - (count + 1) * BLOCK_BYTES))


def _rows(path: Path, count: int, turns: int) -> Iterator[Row]:
    storage = CountedFile(path)
    block = block_of(OURS, 200)
    known = _look(storage, Known(), now=0.0, count=count)
    storage.bytes = 0
    part, full, whole = [], [], []
    for _ in range(turns):
        part.append(_seconds(lambda: _our_turn(storage, known, now=1.0, count=count, block=block)))
        whole.append(_seconds(lambda: _their_turn(path, count, block)))
    known_bytes = storage.bytes // turns
    for _ in range(turns):
        full.append(
            _seconds(lambda: _our_turn(storage, Known(), now=1.0, count=count, block=block))
        )
    timing = Timing()
    between = timing.full_read_seconds / timing.loop_seconds
    mean_bytes = known_bytes + (RANGE_BYTES - known_bytes) / between
    known_ms, full_ms, whole_ms = (statistics.median(each) * MS for each in (part, full, whole))
    mean_ms = (known_ms * (between - 1) + full_ms) / between
    their_bytes, theirs = RANGE_BYTES + BLOCK_BYTES, f"{whole_ms:.2f} ms"
    yield Row(
        f"turn, {count} hosts, known blocks",
        f"{AIM_BYTES / 1024:.0f} KB, {AIM_SECONDS * MS} ms" if count == 3 else "",
        f"{known_bytes / 1024:.0f} KB, {known_ms:.2f} ms",
        f"{their_bytes / 1024:.0f} KB, {theirs}",
        f"processor time, median of {turns} turns",
    )
    yield Row(
        f"turn, {count} hosts, full reads shared out",
        "",
        f"{mean_bytes / 1024:.0f} KB, {mean_ms:.2f} ms",
        f"{their_bytes / 1024:.0f} KB, {theirs}",
        f"one turn in {between:.0f} reads all: {full_ms:.2f} ms",
    )


def _our_turn(storage: CountedFile, known: Known, *, now: float, count: int, block: bytes) -> None:
    _look(storage, known, now=now, count=count)
    storage.write_block(OURS, block)


def _look(storage: CountedFile, known: Known, *, now: float, count: int) -> Known:
    sight = look_at_whiteboard(
        storage,  # type: ignore[arg-type]  # of a broker no more is asked here
        known,
        host_id=OURS,
        now=now,
        full_read_seconds=Timing().full_read_seconds,
    )
    assert len(sight.peers) == count - 1
    return sight.known


def _their_turn(path: Path, count: int, block: bytes) -> None:
    assert len(read_whole_range(path)) == count
    write_own(path, OURS, block)


def _seconds(work: Callable[[], None]) -> float:
    """Processor time of this process, the kernel's part for it included."""
    began = time.process_time()
    work()
    return time.process_time() - began
