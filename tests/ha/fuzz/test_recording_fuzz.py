"""Recordings that are torn, spoilt or of a wrong shape: one line that says where, and no more."""

import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ha.core.actions import Action
from ha.core.facts import Memory
from ha.core.score import CoreSettings
from ha.core.timing import Timing
from ha.recorder import FlightRecorder
from ha.recording import observation_from
from ha.replay import MOST_BYTES, replay_main
from ha.replay_text import explain_main
from ha.turn import take_turn
from tests.ha.fuzz.strategies import fuzz, texts

UP = {"vm": "up", "health": "good", "detail": "Up"}
LOCAL = {
    "network": 1.0, "bridge": True, "mem-free": 4096.0, "cpu-load": 0.1, "engine-health": UP,
    "storage-domain": True, "maintenance": False,
}  # fmt: skip
PEER = {"host-id": 2, "host-ts": 5, "score": 3400, "engine-status": UP, "hostname": "h2"}
WRONG: tuple[object, ...] = (
    *(None, True, "x", "", -1, 0, 1.5, 10**400, -(10**400), [], {}, [None], {"a": []}),
    *("NaN", "\ud800", "9" * 400, [[[]]], {"vm": 1}, [[1, 2, 3]], {"1": "x"}),
)


def recorded(path: Path) -> bytes:
    """Some turns as the flight recorder writes them."""
    recorder = FlightRecorder(path, 7, wall=lambda: 0.0)
    memory, settings = Memory(), CoreSettings(1, 96)
    for now in range(0, 30, 10):
        value = {"now": now, "global_maintenance": False, "local": LOCAL, "hosts": {"2": PEER}}
        seen = observation_from(value, "here")
        turn = take_turn(memory, seen, settings, lambda action: True)
        recorder.record(memory, seen, turn, settings, {Action.START_VM: True})
        memory = turn.memory
    return path.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def whole(folder: Path) -> bytes:
    return recorded(folder / "turns.jsonl")


def replays(path: Path, data: bytes) -> bool:
    """Whether it is a recording; if not there is one line of error, and nothing else."""
    path.write_bytes(data)
    out, err = io.StringIO(), io.StringIO()
    code = replay_main(path, out, err)
    assert code in (0, 2)
    if code:
        assert out.getvalue() == ""
        assert err.getvalue().startswith(f"replay: {path}: ")
        assert err.getvalue().count("\n") == 1
    if b"x" in data or not code:
        told, trouble = io.StringIO(), io.StringIO()
        assert explain_main(path, True, told, trouble) == code
    return code == 0


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_in(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: object) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def decides(path: tuple[Any, ...]) -> bool:
    """Whether a decision depends on it: not on names, nor on what was recorded of the decision.

    An engine of which nothing can be read is an unknown one.
    """
    free = {"seed", "decision", "hostname", "host-id", "engine-health", "engine-status"}
    return not free & set(path)


def test_the_recording_is_right(folder: Path, whole: bytes) -> None:
    assert replays(folder / "right", whole)
    first = json.loads(whole.splitlines()[0])
    assert first["settings"]["timing"] == asdict(Timing())


def test_a_wrong_value_at_every_place(folder: Path, whole: bytes) -> None:
    first, *rest = whole.splitlines(keepends=True)
    trace = json.loads(first)
    for path in paths_in(trace):
        for wrong in WRONG:
            line = json.dumps(replaced(trace, path, wrong)).encode() + b"\n"
            taken = replays(folder / "wrong", line + rest[-1])
            assert not (taken and wrong == "x" and decides(path)), path


def test_a_key_left_out_at_every_place(folder: Path, whole: bytes) -> None:
    trace = json.loads(whole.splitlines()[0])
    for path in paths_in(trace):
        if path and isinstance(path[-1], str):
            inner: Any = trace
            for key in path[:-1]:
                inner = inner[key]
            without = {key: value for key, value in inner.items() if key != path[-1]}
            line = json.dumps(replaced(trace, path[:-1], without)).encode()
            replays(folder / "less", line)


def test_every_truncation(folder: Path, whole: bytes) -> None:
    first, *_, last = whole.splitlines(keepends=True)
    start = len(whole) - len(last)
    for size in (*range(0, len(first), 31), *range(start, len(whole), 5)):
        # A line that lacks its end only is whole; so are all before the last.
        right = whole[:size].count(b"\n") and whole[:size].endswith((b"\n", b"}}]}"))
        right = right or whole[:size].endswith(last[:-1])
        assert replays(folder / "torn", whole[:size]) is bool(right), size
    packed = gzip.compress(whole)
    for size in range(0, len(packed), 11):
        assert not replays(folder / "torn.gz", packed[:size]), size


def test_a_recording_that_would_fill_the_memory(folder: Path) -> None:
    blown_up = gzip.compress(b" " * (MOST_BYTES + 1), 1)
    assert not replays(folder / "bomb", blown_up)


@fuzz
@given(data=st.one_of(st.binary(max_size=100), texts.map(lambda t: t.encode(errors="replace"))))
@example(b"\x1f\x8b")
@example(b"[" * 5000)
@example(b'{"steps": []}')
def test_bytes_of_any_kind(folder: Path, data: bytes) -> None:
    replays(folder / "any", data)
