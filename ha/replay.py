"""Replay recorded turns: feed the observations alone to the core, print what it decides."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ha.core.actions import Action
from ha.core.facts import Memory
from ha.core.score import CoreSettings
from ha.recording import BadRecording, decision_of, mapping, observation_from
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
    for number, line in traces:
        yield from _replay_trace(line, f"line {number}")


def _replay_trace(line: str, where: str) -> Iterator[dict[str, object]]:
    try:
        trace = mapping(json.loads(line), where)
    except (ValueError, RecursionError) as error:
        raise BadRecording(f"{where}: no JSON: {error}") from error
    settings = _settings(trace, where)
    steps = trace.get("steps")
    if not isinstance(steps, list):
        raise BadRecording(f"{where}: steps: expected a list")
    memory = Memory()
    for index, step in enumerate(steps):
        here = f"{where}: step {index}"
        observation = mapping(mapping(step, here).get("observation"), f"{here}: observation")
        seen = observation_from(observation, here)

        def perform(action: Action, outcomes: Mapping[str, Any] = observation) -> bool:
            key = "start_vm_succeeds" if action is Action.START_VM else "stop_vm_succeeds"
            return bool(outcomes.get(key, True))

        turn = take_turn(memory, seen, settings, perform)
        memory = turn.memory
        yield {"seed": trace.get("seed"), "step": index, **decision_of(turn)}


def _settings(trace: Mapping[str, Any], where: str) -> CoreSettings:
    host_id, memory_mib = trace.get("host_id"), trace.get("min_memory_mb")
    if not isinstance(host_id, int) or not isinstance(memory_mib, int | float):
        raise BadRecording(f"{where}: host_id and min_memory_mb must be numbers")
    return CoreSettings(host_id=host_id, vm_memory_mib=memory_mib)
