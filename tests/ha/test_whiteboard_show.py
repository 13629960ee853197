import io
import json
from pathlib import Path

from ha.core.record import BLOCK_BYTES, RANGE_BYTES, Record, encode_global, encode_record
from ha.whiteboard_show import show_main

ENGINE = '{"vm": "up", "health": "good", "detail": "Up"}'


def shown(path: Path, *, as_json: bool) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return show_main(path, as_json, out, err), out.getvalue(), err.getvalue()


def whiteboard(path: Path) -> Path:
    record = Record(2, 5, 3400, ENGINE, "h2", extra="state=EngineUp\n")
    blocks = [encode_global(True), b"", encode_record(record), b"2|2|1|3|0|x|h", b"\xff", b"1|1"]
    path.write_bytes(b"".join(block.ljust(BLOCK_BYTES, b"\0") for block in blocks))
    return path


def test_json_has_every_block_that_is_not_empty(tmp_path: Path) -> None:
    code, out, err = shown(whiteboard(tmp_path / "metadata"), as_json=True)
    assert (code, err) == (0, "")
    blocks = json.loads(out)
    assert [(block["host_id"], block["verdict"]) for block in blocks] == [
        (0, "ok"), (2, "ok"), (3, "too_new"), (4, "unreadable"), (5, "malformed"),
    ]  # fmt: skip
    assert blocks[0]["value"] == {"maintenance": True}
    assert blocks[1]["value"]["engine-status"] == ENGINE
    assert blocks[2]["value"].startswith("Metadata version 2 from host 3 too new")
    assert blocks[3]["value"] is None


def test_the_text_names_the_bad_blocks(tmp_path: Path) -> None:
    code, out, _err = shown(whiteboard(tmp_path / "metadata"), as_json=False)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "cluster   ok          global maintenance on"
    assert "EngineUp" in lines[1]
    assert "too new for this agent" in lines[2]
    assert "not UTF-8" in lines[3]


def test_an_empty_file_and_one_with_a_block_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metadata"
    path.write_bytes(b"")
    assert shown(path, as_json=True)[:2] == (0, "[]\n")
    path.write_bytes(b"\0" * BLOCK_BYTES + b"1|1|1|1|0|x|h")
    assert json.loads(shown(path, as_json=True)[1])[0]["verdict"] == "malformed"


def test_what_is_beyond_the_last_host_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "metadata"
    path.write_bytes(b"\0" * RANGE_BYTES + b"x" * BLOCK_BYTES)
    assert shown(path, as_json=True)[:2] == (0, "[]\n")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    code, out, err = shown(tmp_path / "none", as_json=True)
    assert (code, out) == (2, "")
    assert err == f"whiteboard show: {tmp_path / 'none'}: No such file or directory\n"
