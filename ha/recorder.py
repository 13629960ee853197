"""The flight recorder: every turn in the recordings' format, bounded, to replay a real night.

One line a turn. The first line of a file, and of an agent's life, carries the memory that the turn
began with and the settings; the lines after it continue from there. `wall` is the time of day, for
people. Nothing is synced: a host that loses its power loses the last seconds of its recording, and
what the power cut left of a line is dropped by the next agent.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from ha.core.actions import Action
from ha.core.facts import Memory, Observation
from ha.core.score import CoreSettings
from ha.recording import memory_as_dict, step_of
from ha.turn import Turn

log = logging.getLogger(__name__)

MOST_BYTES = 8 * 1024 * 1024
"""When the file is larger it becomes the old one; there are never more than two."""
_CHUNK_BYTES = 64 * 1024


class FlightRecorder:
    """Appends to one file; a full disk costs the recording, never the turn."""

    def __init__(
        self,
        path: Path,
        seed: int,
        most_bytes: int = MOST_BYTES,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`seed` tells this life of the agent from others; `wall` gives seconds since 1970."""
        self._path = path
        self._seed = seed
        self._most_bytes = most_bytes
        self._wall = wall
        self._continues = False
        self._failed = False

    def record(
        self,
        before: Memory,
        seen: Observation,
        turn: Turn,
        settings: CoreSettings,
        results: Mapping[Action, bool],
    ) -> None:
        """Append one turn."""
        outcomes = {
            "start_vm_succeeds": results.get(Action.START_VM, True),
            "stop_vm_succeeds": all(
                succeeded for action, succeeded in results.items() if action is not Action.START_VM
            ),
        }
        line: dict[str, object] = {
            "seed": self._seed,
            "host_id": settings.host_id,
            "min_memory_mb": settings.vm_memory_mib,
            "wall": int(self._wall()),
            "steps": [step_of(seen, turn, outcomes)],
        }
        try:
            self._rotate()
            if self._continues:
                line["continues"] = True
            else:
                line["memory"] = memory_as_dict(before)
                line["settings"] = {
                    "score": asdict(settings.score),
                    "timing": asdict(settings.timing),
                    "conf_on_shared_storage": settings.conf_on_shared_storage,
                }
            self._append(json.dumps(line) + "\n")
        except OSError as error:
            if not self._failed:
                log.error("The flight recorder cannot write: %s", error)
            self._failed, self._continues = True, False
        else:
            self._failed, self._continues = False, True

    def _rotate(self) -> None:
        if self._path.exists() and self._path.stat().st_size >= self._most_bytes:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._continues = False

    def _append(self, line: str) -> None:
        if not self._continues:
            self._cut_torn_line()
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)

    def _cut_torn_line(self) -> None:
        """Drop what a power cut or a full disk left of a last line."""
        if not self._path.exists():
            return
        with self._path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            whole = _end_of_lines(file, end)
            if whole < end:
                file.truncate(whole)


def _end_of_lines(file: BinaryIO, end: int) -> int:
    """Return where the last whole line ends; read from behind, as the file may be large."""
    while end > 0:
        start = max(0, end - _CHUNK_BYTES)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
