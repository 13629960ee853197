"""Replay recorded turns: feed the observations alone to the core, print what it decides."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from ha.core.actions import Action
from ha.core.facts import Memory
from ha.core.score import CoreSettings, ScoreSettings
from ha.core.timing import Timing
from ha.recording import BadRecording, decision_of, mapping, memory_from, observation_from
from ha.turn import take_turn

BAD_INPUT = 2
_GZIP_MAGIC = b"\x1f\x8b"


def replay_main(path: Path, out: TextIO, err: TextIO) -> int:
    """Print one JSON line a recorded step: seed, step, states, actions, score.

    Returns 0, or 2 with one line on `err` and nothing on `out` when the file is no recording.
    """
    try:
        decisions = list(replay(path))
    except (OSError, EOFError, zlib.error, BadRecording) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        err.write(f"replay: {path}: {problem}\n")
        return BAD_INPUT
    for decision in decisions:
        out.write(json.dumps(decision) + "\n")
    return 0


def replay(path: Path) -> Iterator[dict[str, object]]:
    """Yield what the core decides in each step of each trace.

    Raises BadRecording, and OSError, EOFError or zlib.error when the file cannot be read.
    """
    data = path.read_bytes()
    if data.startswith(_GZIP_MAGIC):
        data = gzip.decompress(data)
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise BadRecording("neither gzip nor UTF-8 text") from error
    traces = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not traces:
        raise BadRecording("holds no trace")
    last = _Life(None, Memory(), CoreSettings(0, 0))
    for number, line in traces:
        trace = _trace(line, f"line {number}")
        life = _life(trace, last, f"line {number}")
        for index, step in enumerate(trace["steps"], life.steps):
            last = _step(life, step, f"line {number}: step {index}")
            yield {"seed": last.seed, "step": index, **last.decision}
            life = last


@dataclass(frozen=True, slots=True)
class _Life:
    """Where a replay stands: after so many steps of the agent's life that `seed` names."""

    seed: object
    memory: Memory
    settings: CoreSettings
    steps: int = 0
    decision: Mapping[str, object] = field(default_factory=dict)


def _trace(line: str, where: str) -> Mapping[str, Any]:
    try:
        trace = mapping(json.loads(line), where)
    except (ValueError, RecursionError) as error:
        raise BadRecording(f"{where}: no JSON: {error}") from error
    if not isinstance(trace.get("steps"), list):
        raise BadRecording(f"{where}: steps: expected a list")
    return trace


def _life(trace: Mapping[str, Any], last: _Life, where: str) -> _Life:
    """Begin a trace; one of the flight recorder's may continue the line before it."""
    host_id, memory_mib = trace.get("host_id"), trace.get("min_memory_mb")
    if not isinstance(host_id, int) or not isinstance(memory_mib, int | float):
        raise BadRecording(f"{where}: host_id and min_memory_mb must be numbers")
    if trace.get("continues") and trace.get("seed") == last.seed:
        return replace(last, settings=replace(last.settings, vm_memory_mib=memory_mib))
    memory = memory_from(trace["memory"], where) if "memory" in trace else Memory()
    settings = CoreSettings(host_id, memory_mib)
    if "settings" in trace:
        settings = _settings(settings, mapping(trace["settings"], where), where)
    return _Life(trace.get("seed"), memory, settings)


def _settings(plain: CoreSettings, value: Mapping[str, Any], where: str) -> CoreSettings:
    try:
        return replace(
            plain,
            score=ScoreSettings(**value["score"]),
            timing=Timing(**value["timing"]),
            conf_on_shared_storage=value["conf_on_shared_storage"],
        )
    except (KeyError, TypeError) as error:
        raise BadRecording(f"{where}: settings: {error}") from error


def _step(life: _Life, step: object, where: str) -> _Life:
    found = mapping(mapping(step, where).get("observation"), f"{where}: observation")
    seen = observation_from(found, where)

    def perform(action: Action) -> bool:
        key = "start_vm_succeeds" if action is Action.START_VM else "stop_vm_succeeds"
        return bool(found.get(key, True))

    turn = take_turn(life.memory, seen, life.settings, perform)
    return replace(life, memory=turn.memory, steps=life.steps + 1, decision=decision_of(turn))
