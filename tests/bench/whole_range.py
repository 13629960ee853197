"""A whiteboard read as upstream reads it, to be measured beside ours.

Each turn takes the whole range past the caches, decodes it at once, splits it into blocks, and
parses the line of every block that does not begin with NUL. Written from what is known of what
upstream does, not from its code.
"""

import json
import mmap
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

BLOCK_CHARACTERS = 4096
LINE_CHARACTERS = 512
RANGE_BYTES = 2001 * 4096


def read_whole_range(path: Path) -> Mapping[int, Mapping[str, object]]:
    """Return each host's record. Raises UnicodeDecodeError for one bad byte anywhere."""
    with mmap.mmap(-1, RANGE_BYTES) as buffer:
        storage = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_SYNC)
        try:
            os.preadv(storage, [buffer], 0)
        finally:
            os.close(storage)
        text = bytes(buffer).decode("utf-8")
    starts = range(0, len(text), BLOCK_CHARACTERS)
    blocks = [text[start : start + BLOCK_CHARACTERS] for start in starts]
    return {
        host_id: _record(block)
        for host_id, block in enumerate(blocks)
        if host_id and not block.startswith("\0")
    }


def write_own(path: Path, host_id: int, block: bytes) -> None:
    """Write one block, and do not look whether it is there."""
    with mmap.mmap(-1, BLOCK_CHARACTERS) as buffer:
        buffer[:] = block
        storage = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_SYNC)
        try:
            os.pwritev(storage, [buffer], host_id * BLOCK_CHARACTERS)
        finally:
            os.close(storage)


def _record(block: str) -> Mapping[str, object]:
    tokens = block[:LINE_CHARACTERS].rstrip("\0").split("|")
    summed = "|".join([*tokens[:9], "00000000", *tokens[10:]])
    if f"{zlib.crc32(summed.encode()) & 0xFFFFFFFF:08x}" != tokens[9]:
        raise ValueError("the checksum is another")
    return {
        "host-ts": int(tokens[2]),
        "score": int(tokens[4]),
        "engine-status": json.loads(tokens[5]),
        "hostname": tokens[6],
        "maintenance": tokens[7] == "1",
        "stopped": tokens[8] == "1",
        "extra": block[LINE_CHARACTERS:].rstrip("\0"),
    }
