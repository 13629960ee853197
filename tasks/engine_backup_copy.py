"""The engine's backup on the control node: in the VM that is upgraded it would be lost with it."""

import base64
import hashlib
import os
from pathlib import Path

from tasks.env import Shell, world
from tasks.hosts import sh
from tasks.runs import current_run

PIECE_BYTES = 8 * 1024 * 1024
# No more at a time than a whiteboard of garbage, which the shell is known to carry.
READ_PIECE = 'dd if="$1" bs="$2" skip="$3" count=1 2>/dev/null | base64 -w 0'


class CopyDiffers(Exception):
    """What arrived on the control node is not the backup that lies in the engine VM."""


def copy_path() -> Path | None:
    """Return where the run in force keeps its copy; None where this world keeps none."""
    folder, run = world().backups, current_run()
    return None if folder is None else folder / (run.run_id if run else "RUN") / "engine.backup"


def copy_out(shell: Shell, path: str, sha256: str, *, within_seconds: float) -> Path | None:
    """Copy a backup to the control node and compare it there with its checksum in the VM.

    Nothing is copied again that is there already. Raises CopyDiffers.
    """
    file = copy_path()
    if file is None or (file.exists() and _sha256(file) == sha256):
        return file
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        number = 0
        while piece := _piece(shell, path, number, within_seconds):
            out.write(piece)
            number += 1
        out.flush()
        os.fsync(out.fileno())
    if _sha256(fresh) != sha256:
        raise CopyDiffers(
            f"{shell.host}: the copy of {path} on the control node, {fresh}, is not what lies there"
            f" (SHA-256 {sha256}); see to room and network, then retry the run: it copies again"
        )
    fresh.replace(file)
    return file


def _piece(shell: Shell, path: str, number: int, within_seconds: float) -> bytes:
    argv = sh(READ_PIECE, path, str(PIECE_BYTES), str(number))
    return base64.b64decode(shell.run(argv, timeout_seconds=within_seconds).checked().stdout)


def _sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
