"""The real processes that stand for what runs on a simulated machine."""

import os
import signal
from contextlib import suppress
from pathlib import Path

VARIABLE = b"SIMULATED_ROOT"


def kill_marked(root: Path) -> None:
    """End every process that was started for the machine whose / is there."""
    mark = VARIABLE + b"=" + os.fsencode(root)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and mark in _environment(entry):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(entry.name), signal.SIGKILL)


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
