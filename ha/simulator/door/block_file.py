"""The whiteboard's blocks in a file, which others may write, too."""

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from ha.core.record import BLOCK_BYTES, MAX_HOST_ID, RANGE_BYTES


class BlockFile(MutableMapping[int, bytes]):
    """Blocks by number; one that begins with NUL is empty, and is there if it is asked for."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def __getitem__(self, number: int) -> bytes:
        block = b""
        if 0 <= number <= MAX_HOST_ID:
            block = os.pread(self._file, BLOCK_BYTES, number * BLOCK_BYTES)
        if len(block) != BLOCK_BYTES:
            raise KeyError(number)
        return block

    def __setitem__(self, number: int, block: bytes) -> None:
        os.pwrite(self._file, block, number * BLOCK_BYTES)

    def __delitem__(self, number: int) -> None:
        self[number] = bytes(BLOCK_BYTES)

    def __iter__(self) -> Iterator[int]:
        data = os.pread(self._file, RANGE_BYTES, 0)
        starts = range(0, len(data), BLOCK_BYTES)
        return iter([start // BLOCK_BYTES for start in starts if data[start]])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
