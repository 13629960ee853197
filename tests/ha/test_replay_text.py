"""A recorded night as a person reads it."""

import io
import json
import os
import pty
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ha.core.facts import EngineStatus, Memory, Monotonic, Observation, Peer
from ha.recorder import FlightRecorder
from ha.replay_text import WIDTH, explain_main
from ha.turn import take_turn
from tests.ha.core.worlds import ABSENT, GOOD, KILLED, SETTINGS, local

PROJECT = Path(__file__).resolve().parents[2]
BEGAN = 1_700_000_000


class Night:
    """A host with a peer that does nothing; the recorder runs along."""

    def __init__(self, path: Path, seed: int = 1) -> None:
        self.recorder = FlightRecorder(path, seed, wall=lambda: float(BEGAN + self.now))
        self.memory, self.now = Memory(), 0

    def turns(
        self,
        count: int = 1,
        engine: EngineStatus = ABSENT,
        *,
        every_seconds: int = 10,
        starts: bool = True,
        **seen_of_host: object,
    ) -> None:
        for _ in range(count):
            self.now += every_seconds
            here = replace(local(engine), **seen_of_host)  # type: ignore[arg-type]
            peers = (Peer(2, "h2\x1b[2J", self.now, 3000, ABSENT), Peer(3, "h3", 5, 3400, ABSENT))
            seen = Observation(Monotonic(self.now), here, peers, False)
            turn = take_turn(self.memory, seen, SETTINGS, lambda _: starts)
            results = dict.fromkeys(turn.actions, starts)
            self.recorder.record(self.memory, seen, turn, SETTINGS, results)
            self.memory = turn.memory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "turns.jsonl"


@pytest.fixture
def night(path: Path) -> Night:
    return Night(path)


def told(path: Path, *, everything: bool = False, code: int = 0) -> tuple[list[str], str]:
    """The blocks, each a turn or a remark, and what was complained of."""
    out, err = io.StringIO(), io.StringIO()
    assert explain_main(path, everything, out, err) == code
    lines = out.getvalue().splitlines()
    assert all(len(line) <= WIDTH and line.isprintable() for line in lines)
    blocks: list[str] = []
    for line in lines:
        words = " ".join(line.split())
        if not line.startswith(" ") or line.startswith("  ... "):
            blocks.append(words)
        else:
            blocks[-1] += f" {words}"
    return blocks, err.getvalue()


def at(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(BEGAN + seconds))


def test_a_turn_says_what_was_seen_which_rule_fired_and_which_did_not(
    path: Path, night: Night
) -> None:
    night.turns(8)
    blocks, _ = told(path)
    assert blocks[0] == "== host id 1, agent's life 1 =="
    (start,) = (block for block in blocks if "START_VM" in block)
    assert start.startswith(f"{at(80)} EngineDown -> EngineStart -> EngineStarting, score 3400 ")
    assert "saw h2 [2J (id 2) alive, score 3000, VM down, health bad" in start
    assert "h3 (id 3) not alive" in start
    assert "no longer: too short a history to know who is alive" in start
    assert "rule EngineDown/no-peer-scores-higher: Engine down and local host has best" in start
    assert "not global-maintenance (it is off); vm-unknown (the VM here is down);" in start
    assert "liveness-unknown (it is known who is alive)" in start
    assert "rule EngineStart/request-start-vm: Starting the engine VM" in start
    assert start.count("global-maintenance (it is off)") == 1  # not again in the next state
    assert "did START_VM: accepted" in start
    assert "rule EngineStart/start-vm-accepted: Engine VM started" in start
    assert start.endswith("score 3400: nothing is taken off")


def test_a_refused_action_and_what_it_costs(path: Path, night: Night) -> None:
    night.turns(8, starts=False)
    blocks, _ = told(path)
    assert "did START_VM: refused" in blocks[-1]
    assert "rule EngineStart/start-vm-refused" in blocks[-1]
    assert blocks[-1].endswith("score 3350: 3400 less 50 for 1 engine vm retry attempts")


def test_turns_that_are_alike_are_counted(path: Path, night: Night) -> None:
    night.turns(4, GOOD)
    night.turns(30, GOOD)
    blocks, _ = told(path)
    first = [block.split(",")[0] for block in blocks[1:4]]
    assert first == [
        f"{at(10)} StartState -> ReinitializeFSM",
        f"{at(20)} ReinitializeFSM -> EngineStarting -> EngineUp",
        f"{at(30)} EngineUp",
    ]
    assert f"... 4 turns alike until {at(70)}: EngineUp, score 3400" in blocks
    assert blocks[5].startswith(f"{at(80)} EngineUp, score 3400 saw h2")  # who is alive, is known
    assert blocks[6:] == [f"... 26 turns alike until {at(340)}: EngineUp, score 3400"]
    assert len(told(path, everything=True)[0]) == 1 + 34


def test_a_limit_that_begins_to_run_is_told(path: Path, night: Night) -> None:
    night.turns(12, GOOD)
    night.turns(2, KILLED)
    blocks, _ = told(path, everything=True)
    assert blocks[-2].startswith(f"{at(130)} EngineUp -> EngineUnexpectedlyDown, score 0")
    assert "score 0: 3400 less all of it for unexpected vm shutdown" in blocks[-2]
    assert "limit unexpected: 560 s from now" in blocks[-1]
    assert "unexpected-limit (560 s, which begin with the second turn here)" in blocks[-1]


def test_what_lowers_the_score(path: Path, night: Night) -> None:
    night.turns(4, GOOD)
    night.turns(1, GOOD, network=0.4, bridge=False)
    blocks, _ = told(path)
    assert "saw network 40% of its probes; management bridge down" in blocks[-1]
    less = "960 for network status, 600 for mgmt bridge status"
    assert blocks[-1].endswith(f"score 1840: 3400 less {less}")


def test_a_time_without_turns_is_told(path: Path, night: Night) -> None:
    night.turns(4, GOOD)
    night.turns(1, GOOD, every_seconds=75)
    blocks, _ = told(path)
    assert "... no turn for 75 s: the agent had no sight of broker or storage" in " ".join(blocks)


def test_each_life_of_the_agent_begins_anew(path: Path, night: Night) -> None:
    night.turns(2)
    Night(path, seed=2).turns(2)
    blocks, _ = told(path)
    assert [block for block in blocks if block.startswith("==")] == [
        "== host id 1, agent's life 1 ==",
        "== host id 1, agent's life 2 ==",
    ]
    assert len([block for block in blocks if "saw here VM down" in block]) == 2


def test_a_decision_that_would_be_another_today_is_marked(path: Path, night: Night) -> None:
    night.turns(3)
    path.write_text(path.read_text().replace('"score": 3400', '"score": 2400'))
    blocks, _ = told(path)
    marked = [block for block in blocks if "NOTE" in block]
    assert len(marked) == 2
    assert "recorded was {'states': ['EngineDown'], 'actions': [], 'score': 2400}" in marked[0]


def test_a_recording_without_the_time_of_day(path: Path, night: Night) -> None:
    night.turns(2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(json.dumps({k: v for k, v in x.items() if k != "wall"}) + "\n" for x in lines)
    )
    blocks, _ = told(path)
    assert blocks[1].startswith("10 s StartState -> ReinitializeFSM")


def test_a_line_that_is_broken_costs_what_follows_from_it(path: Path, night: Night) -> None:
    night.turns(3)
    Night(path, seed=2).turns(3)
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:30]
    lines.insert(2, lines[2])
    path.write_text("\n".join(lines))
    blocks, err = told(path, everything=True, code=2)
    assert len(blocks) == 2 + 1 + 3
    assert err.splitlines()[0].startswith(f"replay: {path}: line 2: no JSON")
    assert [line.partition(";")[0] for line in err.splitlines()[1:]] == [
        f"replay: {path}: line 3: continues what is not here"
    ]


def test_what_is_no_recording(path: Path) -> None:
    path.write_text("")
    assert told(path, code=2) == ([], f"replay: {path}: holds no trace\n")
    path.unlink()
    assert told(path, code=2) == ([], f"replay: {path}: No such file or directory\n")


def test_the_command(path: Path, night: Night) -> None:
    night.turns(5)
    argv = [sys.executable, "-m", "ha", "replay", str(path)]

    def run(*options: str) -> str:
        done = subprocess.run(
            [*argv, *options], cwd=PROJECT, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert run() == run("--json")
    assert [json.loads(line)["step"] for line in run().splitlines()] == [0, 1, 2, 3, 4]
    assert run("--explain").startswith("== host id 1, agent's life 1 ==\n")
    assert run("--explain").count("  ...     ") == 1
    assert run("--all").count("  ...     ") == 0


@pytest.mark.parametrize(("options", "begins"), [([], b"== host id 1"), (["--json"], b'{"seed"')])
def test_on_a_terminal_it_is_told(
    path: Path, night: Night, options: list[str], begins: bytes
) -> None:
    night.turns(3)
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "ha", "replay", str(path), *options]
    with subprocess.Popen(argv, cwd=PROJECT, stdout=theirs) as process:
        process.wait(30)
    os.close(theirs)
    assert os.read(ours, 4096).startswith(begins)
    os.close(ours)
