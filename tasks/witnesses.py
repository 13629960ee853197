"""What the storage itself says: raw reads of the whiteboard, and what follows from them.

A raw read is the authority. The hosts' own status may come from a broker's memory, and upstream's
`hosted-engine --vm-status` ends in a traceback as soon as one block is too new.
"""

import base64
import binascii
import gzip
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from ha.core.record import (
    BLOCK_BYTES,
    GLOBAL_BLOCK,
    MAX_HOST_ID,
    Block,
    GlobalRecord,
    Record,
    judge_block,
    judge_whiteboard,
)
from tasks.env import Shell

# dd reports in words, which a locale may translate. Around the page cache always: another host may
# have written since. A single large read is split by the kernel, hence fullblock.
READ_RANGE = """
LC_ALL=C; export LC_ALL
dd if="$1" bs="$2" count=1 iflag=direct,fullblock | gzip -1c | base64
"""
DIGEST = """
LC_ALL=C; export LC_ALL
dd if="$1" bs="$2" skip="$3" count="$4" iflag=direct | sha256sum
"""

MEBIBYTE = 1024 * 1024


class ReadFailed(Exception):
    """A host could not read the whiteboard, or not all of it; raised by the raw reads."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How dd covers a size exactly: never without a count."""

    block_bytes: int
    count: int


def shape_of(size_bytes: int) -> Shape:
    """Return the largest block of 1 MiB or 4096 bytes that divides the size.

    Raises ValueError for a size that is not a whole number of whiteboard blocks.
    """
    for block_bytes in (MEBIBYTE, BLOCK_BYTES):
        if size_bytes > 0 and size_bytes % block_bytes == 0:
            return Shape(block_bytes, size_bytes // block_bytes)
    raise ValueError(f"{size_bytes} bytes are not a whole number of {BLOCK_BYTES}-byte blocks")


def range_blocks(size_bytes: int) -> int:
    """Return how many blocks of a volume belong to the whiteboard's range."""
    return min(size_bytes // BLOCK_BYTES, MAX_HOST_ID + 1)


def read_raw(shell: Shell, path: str, size_bytes: int, *, timeout_seconds: float) -> bytes:
    """Return the whiteboard's range of a volume, read around the page cache.

    Raises ReadFailed when the host returned less.
    """
    wanted_bytes = range_blocks(size_bytes) * BLOCK_BYTES
    argv = ("sh", "-c", READ_RANGE, "sh", path, str(wanted_bytes))
    ran = shell.run(argv, timeout_seconds=timeout_seconds)
    try:
        data = gzip.decompress(base64.b64decode(ran.stdout))
    except (binascii.Error, OSError, EOFError, zlib.error) as error:
        raise ReadFailed(f"{ran.host}: {path}: {error}: {ran.stderr.strip()}") from error
    if len(data) != wanted_bytes:
        raise ReadFailed(
            f"{ran.host}: {path}: read {len(data)} of {wanted_bytes} bytes: {ran.stderr.strip()}"
        )
    return data


def digest(
    shell: Shell, path: str, size_bytes: int, *, timeout_seconds: float, skip_bytes: int = 0
) -> str:
    """Return the SHA-256 of a file or device from an offset to the given size, read directly.

    Raises ReadFailed when the host could not read all of it.
    """
    wanted_bytes = size_bytes - skip_bytes
    # dd counts in blocks: with an offset, the offset is the block; the last one may be shorter.
    block_bytes = skip_bytes or shape_of(size_bytes).block_bytes
    count = -(-wanted_bytes // block_bytes)
    numbers = (str(block_bytes), "1" if skip_bytes else "0", str(count))
    ran = shell.run(("sh", "-c", DIGEST, "sh", path, *numbers), timeout_seconds=timeout_seconds)
    found = ran.stdout.split()
    # dd's own report is the only sign of a short read: sha256sum is content with anything.
    if not found or f"{wanted_bytes} bytes" not in ran.stderr:
        raise ReadFailed(f"{ran.host}: {path}: {ran.stderr.strip()}")
    return found[0]


def digest_of_zeros(size_bytes: int) -> str:
    """Return the SHA-256 of that many zero bytes."""
    found = hashlib.sha256()
    chunk = bytes(MEBIBYTE)
    for _ in range(size_bytes // MEBIBYTE):
        found.update(chunk)
    found.update(bytes(size_bytes % MEBIBYTE))
    return found.hexdigest()


def block_at(data: bytes, host_id: int) -> bytes:
    """Return one block of a raw read."""
    return data[host_id * BLOCK_BYTES : (host_id + 1) * BLOCK_BYTES]


def changed_blocks(before: bytes, after: bytes) -> tuple[int, ...]:
    """Return the host ids whose blocks differ between two raw reads."""
    if before == after:
        return ()
    count = min(len(before), len(after)) // BLOCK_BYTES
    return tuple(n for n in range(count) if block_at(before, n) != block_at(after, n))


def bad_blocks(data: bytes) -> tuple[Block, ...]:
    """Return the blocks that no reader of our version can use."""
    return tuple(block for block in judge_whiteboard(data) if block.bad)


def records(data: bytes) -> dict[int, Record]:
    """Return the readable host records of a raw read, by host id."""
    return {
        block.host_id: block.record
        for block in judge_whiteboard(data)
        if isinstance(block.record, Record)
    }


def live_ids(before: bytes, after: bytes) -> tuple[int, ...]:
    """Return the ids of the hosts that wrote a new timestamp between two raw reads.

    Alive is judged by change alone: the hosts' clocks are never compared with each other.
    """
    old, new = records(before), records(after)
    return tuple(
        host_id
        for host_id, record in new.items()
        if host_id in old and record.timestamp != old[host_id].timestamp
    )


def maintenance_flag(data: bytes) -> bool:
    """Return whether block 0 of a raw read says global maintenance; absent or bad is no."""
    block = judge_block(GLOBAL_BLOCK, block_at(data, GLOBAL_BLOCK))
    return isinstance(block.record, GlobalRecord) and block.record.maintenance is True


def wrongly_written(before: bytes, after: bytes, zeroed: Sequence[int]) -> tuple[int, ...]:
    """Return the ids of blocks that are not zero and should be, or not the old and should be."""
    wanted = set(zeroed)
    return tuple(
        n
        for n in range(len(before) // BLOCK_BYTES)
        if block_at(after, n) != (bytes(BLOCK_BYTES) if n in wanted else block_at(before, n))
    )
