"""Show a whiteboard, from a raw metadata file or device, each block judged on its own."""

import json
from pathlib import Path
from typing import TextIO

from ha.core.record import (
    GLOBAL_BLOCK,
    RANGE_BYTES,
    Block,
    GlobalRecord,
    Record,
    Verdict,
    judge_whiteboard,
)

BAD_INPUT = 2


def show_main(path: Path, as_json: bool, out: TextIO, err: TextIO) -> int:
    """Print every non-empty block. Returns 0, or 2 with a line on `err` for an unreadable file."""
    try:
        with path.open("rb") as file:
            blocks = judge_whiteboard(file.read(RANGE_BYTES))
    except OSError as error:
        err.write(f"whiteboard show: {path}: {error.strerror}\n")
        return BAD_INPUT
    if as_json:
        out.write(json.dumps([block_as_dict(block) for block in blocks], indent=2) + "\n")
    else:
        out.writelines(f"{_as_line(block)}\n" for block in blocks)
    return 0


def block_as_dict(block: Block) -> dict[str, object]:
    """Return the block as `{"host_id", "verdict", "value"}`; a bad block's value is the message.

    An unreadable block has no value, as its bytes mean nothing.
    """
    value: object = None if block.verdict is Verdict.UNREADABLE else block.message
    if isinstance(block.record, GlobalRecord):
        value = {"maintenance": bool(block.record.maintenance)}
    elif isinstance(block.record, Record):
        value = record_as_dict(block.record)
    return {"host_id": block.host_id, "verdict": block.verdict.value, "value": value}


def record_as_dict(record: Record) -> dict[str, object]:
    """Return the record under upstream's names, without what its writer did not send."""
    values: dict[str, object] = {
        "host-id": record.host_id,
        "host-ts": record.timestamp,
        "score": record.score,
        "engine-status": record.engine_status,
        "hostname": record.hostname,
        "maintenance": record.maintenance,
        "stopped": record.stopped,
        "crc32": record.crc32,
        "conf_on_shared_storage": record.conf_on_shared_storage,
        "local_conf_timestamp": record.local_conf_timestamp,
        "extra": record.extra or None,
    }
    return {key: value for key, value in values.items() if value is not None}


def _as_line(block: Block) -> str:
    name = "cluster" if block.host_id == GLOBAL_BLOCK else f"host {block.host_id}"
    head = f"{name:<10}{block.verdict.value:<12}"
    if isinstance(block.record, GlobalRecord):
        return f"{head}global maintenance {'on' if block.record.maintenance else 'off'}"
    if isinstance(block.record, Record):
        record = block.record
        return (
            f"{head}{record.hostname}  score {record.score}  {record.state or 'unknown state'}"
            f"  engine VM {record.vm or 'unknown'}, health {record.health or 'unknown'}"
        )
    return head + (block.message or "")
