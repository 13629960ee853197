import gzip
import io
import json
from pathlib import Path

import pytest

from ha.replay import replay_main

STEP = {
    "observation": {
        "now": 10,
        "global_maintenance": False,
        "local": {
            "network": 1.0,
            "bridge": True,
            "mem-free": None,
            "cpu-load": None,
            "engine-health": None,
            "storage-domain": True,
            "maintenance": False,
        },
        "hosts": {},
        "start_vm_succeeds": True,
        "stop_vm_succeeds": True,
    }
}
TRACE = {"seed": 3, "host_id": 1, "min_memory_mb": 512, "steps": [STEP, STEP]}


def replayed(path: Path) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return replay_main(path, out, err), out.getvalue(), err.getvalue()


def test_a_line_for_each_step(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(TRACE) + "\n\n")
    code, out, err = replayed(path)
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"seed": 3, "step": 0, "states": ["ReinitializeFSM"], "actions": [], "score": 0},
        {"seed": 3, "step": 1, "states": ["UnknownLocalVmState"], "actions": [], "score": 3000},
    ]


def test_plain_and_gzipped_say_the_same(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a", tmp_path / "b"
    plain.write_text(json.dumps(TRACE))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert replayed(plain) == replayed(packed)


def broken_step(**changes: object) -> str:
    step = {"observation": {**STEP["observation"], **changes}}
    return json.dumps({**TRACE, "steps": [STEP, step]})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "holds no trace"),
        (b"\xff\xfe", "neither gzip nor UTF-8"),
        (b"\x1f\x8b\x08cut short", ""),
        # without the time of day: a name that differs from worker to worker stops the whole run
        (gzip.compress(json.dumps(TRACE).encode(), mtime=0)[:-20], ""),
        (b"{", "line 1: no JSON"),
        (b"[" * 100_000, "line 1: no JSON"),
        (b"[]", "line 1: expected an object"),
        (b"{}", "steps"),
        (json.dumps({**TRACE, "host_id": "x"}).encode(), "host_id"),
        (json.dumps({**TRACE, "steps": [None]}).encode(), "line 1: step 0"),
        (broken_step(now="soon").encode(), "line 1: step 1: now"),
        (broken_step(local=None).encode(), "line 1: step 1: local"),
        (broken_step(hosts={"x": {}}).encode(), "host x"),
        (broken_step(hosts={"2": {"score": 1}}).encode(), "host 2: host-ts"),
        (json.dumps({**TRACE, "memory": {"state": "Nowhere"}}).encode(), "no memory"),
        (json.dumps({**TRACE, "settings": {"score": {}}}).encode(), "settings"),
    ],
)
def test_bad_input_is_one_clear_line_and_nothing_else(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    code, out, err = replayed(path)
    assert (code, out) == (2, "")
    assert err.startswith(f"replay: {path}: ")
    assert err.count("\n") == 1
    assert problem in err


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    assert replayed(tmp_path / "none")[0] == 2
    assert replayed(tmp_path)[2] == f"replay: {tmp_path}: Is a directory\n"
