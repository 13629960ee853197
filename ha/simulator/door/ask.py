"""Asking at the door of a simulated cluster that somebody serves; the standard library only."""

import os
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

DOOR, ANSWERS, SPEED, LOG = "door", "answers", "speed", "log"
"""In the cluster's folder: where one asks, where answers arrive, how fast time passes, what was."""


def ask_door(folder: Path, words: Sequence[str]) -> bytes:
    """Return the answer to a request (ha.simulator.door.desk). Raises OSError if nobody serves."""
    answer = folder / ANSWERS / uuid4().hex
    request = b"\0".join(word.encode("utf-8", "surrogateescape") for word in (answer.name, *words))
    door = os.open(folder / DOOR, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.mkfifo(answer, 0o600)
        os.write(door, f"{len(words) + 1}\0".encode() + request + b"\0")
        return answer.read_bytes()
    finally:
        os.close(door)


def speed_of(folder: Path) -> float:
    """Return how many seconds of a served cluster pass in one of ours. Raises OSError."""
    return float((folder / SPEED).read_text(encoding="ascii"))
