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

from ha.core.record import BLOCK_BYTES, MAX_HOST_ID, RANGE_BYTES
from ha.env.ports import LostWrite, WhiteboardFailed

TURN_SECONDS = 8.0
READERS = 4


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
        with self._turn(self._reading), self._opened(os.O_RDONLY) as storage:
            if host_ids is None:
                found = _split(_read(storage, 0, RANGE_BYTES))
            else:
                wanted = sorted({_checked(host_id) for host_id in host_ids})
                offsets = {host_id: host_id * BLOCK_BYTES for host_id in wanted}
                found = {h: _read(storage, offset, BLOCK_BYTES) for h, offset in offsets.items()}
        return {host_id: block for host_id, block in found.items() if _in_use(block)}

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
            seen = _read(storage, offset, BLOCK_BYTES)
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


def _read(storage: int, offset: int, size_bytes: int) -> bytes:
    """Read up to the end of the file; what is missing is NUL."""
    with mmap.mmap(-1, size_bytes) as buffer:
        done = 0
        while done < size_bytes:
            # A rest that is not page aligned can only follow the end of a file: stop there.
            part = memoryview(buffer)[done:]
            try:
                count = os.preadv(storage, [part], offset + done)
            finally:
                part.release()
            done += count
            if count == 0 or count % BLOCK_BYTES:
                break
        return bytes(buffer)


def _split(data: bytes) -> dict[int, bytes]:
    starts = range(0, len(data), BLOCK_BYTES)
    return {start // BLOCK_BYTES: data[start : start + BLOCK_BYTES] for start in starts}


def _in_use(block: bytes) -> bool:
    return block[0] != 0
