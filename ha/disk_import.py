"""The engine's disk image, copied into the engine disk and read back."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ha.deploy_storage import MIB, require_room
from ha.direct_io import read_direct
from ha.storage_domain import StorageError

_COPY_BYTES = 4 * MIB
_PROGRESS_SECONDS = 5.0


def import_disk(image: Path, target: Path, *, sparse: bool, say: Callable[[str], None]) -> None:
    """Copy a raw disk image into the engine disk, and read it back past all caches.

    Raises StorageError when it does not fit or something else is read, and OSError.
    """
    size_bytes = image.stat().st_size
    require_room(target, size_bytes)
    copied, on_disk = hashlib.sha256(), hashlib.sha256()
    with image.open("rb") as source, target.open("r+b", buffering=0) as disk:
        for offset_bytes in _offsets(size_bytes, "copied", say):
            chunk = source.read(_COPY_BYTES)
            copied.update(chunk)
            # A new file reads as zeroes; a device may hold anything.
            if not sparse or any(chunk):
                _write_all(disk.fileno(), chunk, offset_bytes)
        os.fsync(disk.fileno())
    for offset_bytes in _offsets(size_bytes, "read back", say):
        chunk = read_direct(target, offset_bytes, _COPY_BYTES)
        on_disk.update(chunk[: size_bytes - offset_bytes])
    if on_disk.digest() != copied.digest():
        raise StorageError(
            f"{target} is no copy of {image}: sha256 {copied.hexdigest()} was written and"
            f" {on_disk.hexdigest()} is read"
        )


def _offsets(size_bytes: int, done: str, say: Callable[[str], None]) -> Iterator[int]:
    said = time.monotonic()
    for offset_bytes in range(0, size_bytes, _COPY_BYTES):
        yield offset_bytes
        if time.monotonic() - said > _PROGRESS_SECONDS:
            said = time.monotonic()
            say(f"  {offset_bytes // MIB} of {size_bytes // MIB} MiB {done}")


def _write_all(file: int, data: bytes, offset_bytes: int) -> None:
    """Write all, as one write may take a part only. Raises OSError."""
    done_bytes = 0
    while done_bytes < len(data):
        count = os.pwrite(file, memoryview(data)[done_bytes:], offset_bytes + done_bytes)
        if count == 0:
            raise OSError(f"nothing was written at {offset_bytes + done_bytes}")
        done_bytes += count
