"""The flight recorder: bounded, whole again after a power cut, and never in the agent's way."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ha.core.facts import Memory, Monotonic, Observation
from ha.recorder import FlightRecorder
from ha.replay import replay_main
from ha.turn import take_turn
from tests.ha.core.worlds import ABSENT, SETTINGS, local

PROJECT = Path(__file__).resolve().parents[2]


class Night:
    """An agent's life as its recorder sees it: a turn each ten seconds, nothing happens."""

    def __init__(self, path: Path, seed: int = 1, most_bytes: int = 8 * 1024 * 1024) -> None:
        self.recorder = FlightRecorder(path, seed, most_bytes, wall=lambda: 1_000_000_000.7)
        self.memory, self.now = Memory(), 0

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.now += 10
            seen = Observation(Monotonic(self.now), local(ABSENT), (), True)
            turn = take_turn(self.memory, seen, SETTINGS, lambda _: True)
            self.recorder.record(self.memory, seen, turn, SETTINGS, {})
            self.memory = turn.memory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "turns.jsonl"


def replayed(path: Path) -> list[dict[str, object]]:
    out, err = io.StringIO(), io.StringIO()
    assert replay_main(path, out, err) == 0, err.getvalue()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_a_turn_with_the_time_of_day(path: Path) -> None:
    Night(path).turns(3)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["wall"] for line in lines] == [1_000_000_000] * 3
    assert ["memory" in line for line in lines] == [True, False, False]
    assert len(replayed(path)) == 3


def test_there_are_two_files_at_most_and_each_can_be_replayed_alone(path: Path) -> None:
    most_bytes = 20_000
    Night(path, most_bytes=most_bytes).turns(300)
    old = path.with_name("turns.jsonl.1")
    assert sorted(each.name for each in path.parent.iterdir()) == ["turns.jsonl", old.name]
    longest = max(len(line) for line in old.read_text().splitlines())
    assert old.stat().st_size <= most_bytes + longest + 1
    assert path.stat().st_size <= most_bytes + longest + 1
    assert replayed(old)[-1]["states"] == ["GlobalMaintenance"]
    assert replayed(path)[-1]["states"] == ["GlobalMaintenance"]


@pytest.mark.parametrize(
    "left", [b'{"seed": 1, "ste', b"\0" * 5000, b'{"steps": ' + b"x" * 200_000]
)
def test_what_a_power_cut_left_of_a_line_is_dropped(path: Path, left: bytes) -> None:
    Night(path).turns(3)
    with path.open("ab") as file:
        file.write(left)
    Night(path, seed=2).turns(2)
    assert [step["seed"] for step in replayed(path)] == [1, 1, 1, 2, 2]


def test_a_file_without_one_whole_line_begins_anew(path: Path) -> None:
    path.write_bytes(b"\0" * 100_000)
    Night(path).turns(2)
    assert len(replayed(path)) == 2


def test_a_full_disk_costs_turns_of_the_recording_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    night = Night(path)
    night.turns(2)
    whole = FlightRecorder._append

    def half(self: FlightRecorder, line: str) -> None:
        whole(self, line[: len(line) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FlightRecorder, "_append", half)
    night.turns(3)
    monkeypatch.setattr(FlightRecorder, "_append", whole)
    night.turns(2)
    assert len(replayed(path)) == 4
    assert caplog.text.count("The flight recorder cannot write") == 1


def test_a_process_that_is_killed_leaves_a_recording_that_goes_on(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.ha.test_recorder import Night; "
        "night = Night(Path(sys.argv[1]))\nwhile True: night.turns(1)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=PROJECT) as process:
        deadline = time.monotonic() + 30
        while not path.exists() or path.stat().st_size < 100_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    Night(path, seed=2).turns(2)
    assert [step["seed"] for step in replayed(path)][-3:] == [1, 2, 2]
