"""Whole pages of a file or device, read and written past all caches.

Another host's write must be seen, and a write must be on the storage when it returns.
"""

import mmap
import os
from pathlib import Path

PAGE_BYTES = 4096


def read_direct(path: Path, offset_bytes: int, size_bytes: int) -> bytes:
    """Read whole pages; shorter than asked only at the end of the file. Raises OSError."""
    with mmap.mmap(-1, size_bytes) as buffer:
        storage = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            count = os.preadv(storage, [buffer], offset_bytes)
        finally:
            os.close(storage)
        return bytes(buffer[:count])


def write_direct(path: Path, offset_bytes: int, data: bytes) -> None:
    """Write whole pages and read them back; raises OSError, also when they differ."""
    with mmap.mmap(-1, len(data)) as buffer:
        buffer[:] = data
        storage = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_SYNC | os.O_CLOEXEC)
        try:
            count = os.pwritev(storage, [buffer], offset_bytes)
        finally:
            os.close(storage)
    if count != len(data) or read_direct(path, offset_bytes, len(data)) != data:
        raise OSError(f"{path}: {len(data)} bytes at {offset_bytes} are not what was written")
