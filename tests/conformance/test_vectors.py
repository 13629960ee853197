"""The reference implementation's recorded behaviour, every block and every step of it."""

import base64
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ha.core.record import BLOCK_BYTES, Record, encode_record, judge_block
from ha.replay import replay_main
from ha.whiteboard_show import block_as_dict, show_main

HERE = Path(__file__).parent
TRACES = HERE / "state-machine.jsonl.gz"
BLOCKS = HERE / "whiteboard.jsonl.gz"


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def test_every_step_of_every_trace() -> None:
    out, err = io.StringIO(), io.StringIO()
    assert replay_main(TRACES, out, err) == 0, err.getvalue()
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    wanted = [
        {"seed": trace["seed"], "step": index, **step["decision"]}
        for trace in lines(TRACES)
        for index, step in enumerate(trace["steps"])
    ]
    assert len(wanted) == 1440
    for one, other in zip(found, wanted, strict=True):
        assert one == other


@pytest.mark.parametrize("vector", list(lines(BLOCKS)), ids=lambda v: f"{v['host_id']}")
def test_every_block(vector: dict[str, Any]) -> None:
    block = base64.b64decode(vector["block"]).ljust(BLOCK_BYTES, b"\0")
    found = judge_block(vector["host_id"], block)
    assert found.verdict.value == vector["verdict"], found
    value = block_as_dict(found)["value"]
    if vector["verdict"] == "malformed" and vector["value"] is None:
        assert value
    else:
        assert value == vector["value"]


def test_a_good_block_written_again_is_the_same() -> None:
    again = 0
    for vector in lines(BLOCKS):
        block = base64.b64decode(vector["block"]).ljust(BLOCK_BYTES, b"\0")
        record = judge_block(vector["host_id"], block).record
        if isinstance(record, Record) and b"future" not in block and record.crc32:
            assert encode_record(record) == block
            again += 1
    assert again == 40


def test_all_blocks_in_one_file(tmp_path: Path) -> None:
    by_host = {vector["host_id"]: vector for vector in lines(BLOCKS)}
    path = tmp_path / "metadata"
    with path.open("wb") as file:
        for host_id, vector in by_host.items():
            file.seek(host_id * BLOCK_BYTES)
            file.write(base64.b64decode(vector["block"]).ljust(BLOCK_BYTES, b"\0"))
    out = io.StringIO()
    assert show_main(path, True, out, io.StringIO()) == 0
    found = {block["host_id"]: block["verdict"] for block in json.loads(out.getvalue())}
    assert found == {
        host_id: vector["verdict"]
        for host_id, vector in by_host.items()
        if vector["verdict"] != "empty"
    }
