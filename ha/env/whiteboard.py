"""The whiteboard on a file or a device, past all caches.

`O_DIRECT | O_SYNC` through page-aligned buffers, as upstream does it; but a read takes only the
blocks asked for, and a write is read back. Nothing here ever makes the file longer or shorter.
"""

import mmap
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ha.core.record import BLOCK_BYTES, MAX_HOST_ID
from ha.env.ports import LostWrite, WhiteboardFailed

TURN_SECONDS = 8.0
READERS = 4
LONGEST_RUN_BLOCKS = 64


class StorageWhiteboard:
    """The whiteboard at a path; links are followed at every use, as they may be made anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.BoundedSemaphore(1)
        self._reading = threading.BoundedSemaphore(READERS)

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        """Return the non-empty blocks among these ids; None reads the whole range at once.

        A block beyond the end of a file counts as empty. Raises WhiteboardFailed, and ValueError
        for an id outside 0..2000.
        """
        wanted = range(MAX_HOST_ID + 1) if host_ids is None else map(_checked, host_ids)
        runs = _runs(sorted(set(wanted)))
        with self._turn(self._reading), self._opened(os.O_RDONLY) as storage:
            return dict(_read_in_use(storage, runs))

    def write_block(self, host_id: int, block: bytes) -> None:
        """Write one block and read it back.

        Raises LostWrite when storage returns something else, WhiteboardFailed when it refuses or
        an earlier write still hangs, ValueError for a wrong id or size.
        """
        if len(block) != BLOCK_BYTES:
            raise ValueError(f"a block has {BLOCK_BYTES} bytes, not {len(block)}")
        offset = _checked(host_id) * BLOCK_BYTES
        with self._turn(self._writing), self._opened(os.O_RDWR) as storage:
            self._write(storage, offset, block)
            seen = _read(storage, offset)
        if seen != block:
            raise LostWrite(f"{self._path}: block {host_id} is not what was written")

    def _write(self, storage: int, offset: int, block: bytes) -> None:
        if offset + BLOCK_BYTES > os.lseek(storage, 0, os.SEEK_END):
            raise WhiteboardFailed(f"{self._path}: has no room for a block at byte {offset}")
        with mmap.mmap(-1, BLOCK_BYTES) as buffer:
            buffer[:] = block
            written = os.pwritev(storage, [buffer], offset)
        if written != BLOCK_BYTES:
            raise LostWrite(f"{self._path}: {written} of {BLOCK_BYTES} bytes written")

    @contextmanager
    def _turn(self, queue: threading.BoundedSemaphore) -> Iterator[None]:
        # What hangs in the kernel must not gather a queue of stale requests behind it.
        if not queue.acquire(timeout=TURN_SECONDS):
            raise WhiteboardFailed(f"{self._path}: earlier requests have not come back")
        try:
            yield
        finally:
            queue.release()

    @contextmanager
    def _opened(self, mode: int) -> Iterator[int]:
        try:
            storage = os.open(self._path, mode | os.O_DIRECT | os.O_SYNC | os.O_CLOEXEC)
            try:
                yield storage
            finally:
                os.close(storage)
        except OSError as error:
            raise WhiteboardFailed(f"{self._path}: {error.strerror}") from error


def _checked(host_id: int) -> int:
    if not 0 <= host_id <= MAX_HOST_ID:
        raise ValueError(f"host id {host_id} is outside 0..{MAX_HOST_ID}")
    return host_id


def _runs(host_ids: Sequence[int]) -> Sequence[range]:
    """Ids that follow one another, as they are read: a request for each run, none too long."""
    runs: list[range] = []
    for host_id in host_ids:
        if runs and host_id == runs[-1].stop and len(runs[-1]) < LONGEST_RUN_BLOCKS:
            runs[-1] = range(runs[-1].start, host_id + 1)
        else:
            runs.append(range(host_id, host_id + 1))
    return runs


def _read_in_use(storage: int, runs: Sequence[range]) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks in use. One buffer serves all runs, as new memory costs more than a read."""
    with mmap.mmap(-1, max(map(len, runs), default=1) * BLOCK_BYTES) as buffer:
        for run in runs:
            size_bytes = len(run) * BLOCK_BYTES
            done = _fill(buffer, storage, run.start * BLOCK_BYTES, size_bytes)
            for host_id, start in zip(run, range(0, done, BLOCK_BYTES), strict=False):
                if buffer[start] != 0:
                    # What the end of a file cut off is NUL, not what an earlier run left there.
                    block = buffer[start : min(start + BLOCK_BYTES, done)]
                    yield host_id, block.ljust(BLOCK_BYTES, b"\0")


def _read(storage: int, offset: int) -> bytes:
    """Read one block; what is missing at the end of the file is NUL."""
    with mmap.mmap(-1, BLOCK_BYTES) as buffer:
        _fill(buffer, storage, offset, BLOCK_BYTES)
        return bytes(buffer)


def _fill(buffer: mmap.mmap, storage: int, offset: int, size_bytes: int) -> int:
    """Read up to the end of the file; return how many bytes there were."""
    done = 0
    while done < size_bytes:
        # A rest that is not page aligned can only follow the end of a file: stop there.
        part = memoryview(buffer)[done:size_bytes]
        try:
            count = os.preadv(storage, [part], offset + done)
        finally:
            part.release()
        done += count
        if count == 0 or count % BLOCK_BYTES:
            break
    return done
