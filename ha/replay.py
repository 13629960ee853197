"""Replay recorded turns: feed the observations alone to the core, see what it decides."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from ha.core.actions import Action
from ha.core.facts import Memory, Observation
from ha.core.score import CoreSettings
from ha.recording import (
    BadRecording,
    decision_of,
    flag_in,
    host_id_of,
    mapping,
    memory_from,
    number_in,
    observation_from,
    settings_from,
)
from ha.turn import Turn, take_turn

BAD_INPUT = 2
READ_ERRORS = (OSError, EOFError, zlib.error, BadRecording)
"""What reading a recording raises."""
MOST_BYTES = 128 * 1024 * 1024
"""The flight recorder's own are a tenth of this at most."""
_GZIP_MAGIC = b"\x1f\x8b"
_OUTCOMES = ("start_vm_succeeds", "stop_vm_succeeds")


@dataclass(frozen=True, slots=True)
class Replayed:
    """One recorded turn, decided again."""

    seed: object
    step: int
    """Counted from the beginning of the agent's life, from 0."""
    wall: float | None
    """Seconds since 1970, if the recording tells."""
    settings: CoreSettings
    seen: Observation
    turn: Turn
    recorded: Mapping[str, Any] | None
    """What the recording says was decided."""


def replay_main(path: Path, out: TextIO, err: TextIO) -> int:
    """Print one JSON line a recorded step: seed, step, states, actions, score.

    Returns 0, or 2 with one line on `err` and nothing on `out` when the file is no recording.
    """
    try:
        decisions = [
            {"seed": one.seed, "step": one.step, **decision_of(one.turn)} for one in replay(path)
        ]
    except READ_ERRORS as error:
        err.write(f"replay: {path}: {problem_of(error)}\n")
        return BAD_INPUT
    for decision in decisions:
        out.write(json.dumps(decision) + "\n")
    return 0


def problem_of(error: Exception) -> str:
    """Say in one line why a recording could not be read."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def replay(path: Path) -> Iterator[Replayed]:
    """Yield each step of each trace, as the core decides it now.

    Raises BadRecording, and OSError, EOFError or zlib.error when the file cannot be read.
    """
    last = _FIRST
    for number, line in lines_of(path):
        last, steps = _line(line, last, f"line {number}")
        yield from steps


def replay_what_is_whole(path: Path) -> Iterator[Replayed | BadRecording]:
    """Yield the same, and the trouble in place of a line that cannot be replayed.

    A line that continues one that is missing cannot be: the memory is not known. Raises as replay.
    """
    last: _Life | None = None
    lost = False
    for number, line in lines_of(path):
        where = f"line {number}"
        try:
            if last is None and _trace(line, where).get("continues"):
                if not lost:
                    lost = True
                    yield BadRecording(
                        f"{where}: continues what is not here; nor are those after it"
                    )
                continue
            last, steps = _line(line, last or _FIRST, where)
            lost = False
            yield from steps
        except BadRecording as trouble:
            last = None
            yield trouble


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a recording, plain or gzipped, with their numbers. Raises as replay."""
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if data.startswith(_GZIP_MAGIC):
        with gzip.open(io.BytesIO(data)) as packed:
            data = packed.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BadRecording(f"is longer than {MOST_BYTES} bytes")
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise BadRecording("neither gzip nor UTF-8 text") from error
    traces = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not traces:
        raise BadRecording("holds no trace")
    return traces


@dataclass(frozen=True, slots=True)
class _Life:
    """Where a replay stands: after so many steps of the agent's life that `seed` names."""

    seed: object
    memory: Memory
    settings: CoreSettings
    steps: int = 0


_FIRST = _Life(None, Memory(), CoreSettings(0, 0))


def _line(line: str, last: _Life, where: str) -> tuple[_Life, list[Replayed]]:
    trace = _trace(line, where)
    life = _life(trace, last, where)
    steps = []
    for index, step in enumerate(trace["steps"], life.steps):
        life, one = _step(life, trace, step, f"{where}: step {index}")
        steps.append(one)
    return life, steps


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
    host_id = host_id_of(trace.get("host_id"), f"{where}: host_id")
    memory_mib = number_in(trace, "min_memory_mb", where)
    if trace.get("continues") and trace.get("seed") == last.seed:
        return replace(last, settings=replace(last.settings, vm_memory_mib=memory_mib))
    memory = memory_from(trace["memory"], where) if "memory" in trace else Memory()
    settings = CoreSettings(host_id, memory_mib)
    if "settings" in trace:
        settings = settings_from(settings, trace["settings"], where)
    return _Life(trace.get("seed"), memory, settings)


def _step(
    life: _Life, trace: Mapping[str, Any], step: object, where: str
) -> tuple[_Life, Replayed]:
    recorded = mapping(step, where)
    found = mapping(recorded.get("observation"), f"{where}: observation")
    seen = observation_from(found, where)
    outcomes = {key: flag_in(found, key, where) for key in _OUTCOMES if key in found}

    def perform(action: Action) -> bool:
        key = "start_vm_succeeds" if action is Action.START_VM else "stop_vm_succeeds"
        return outcomes.get(key, True)

    turn = take_turn(life.memory, seen, life.settings, perform)
    wall, decision = trace.get("wall"), recorded.get("decision")
    one = Replayed(
        seed=life.seed,
        step=life.steps,
        wall=None if wall is None else number_in(trace, "wall", where),
        settings=life.settings,
        seen=seen,
        turn=turn,
        recorded=decision if isinstance(decision, dict) else None,
    )
    return replace(life, memory=turn.memory, steps=life.steps + 1), one
