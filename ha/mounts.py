"""Mounting shared storage, and asking what is mounted without touching it."""

import os
import re
import subprocess
from pathlib import Path

MOUNT_LIMIT_SECONDS = 60.0


class MountFailed(Exception):
    """Raised by mount with the words of mount(8)."""


def is_mounted(target: Path) -> bool:
    """Whether a file system is mounted at exactly this directory; never touches the storage."""
    wanted = os.path.join(os.path.realpath(target.parent), target.name)
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return any(_unescape(line.split(" ")[1]) == wanted for line in mounts)


def mount(kind: str, source: str, target: Path, options: str) -> None:
    """Mount with mount(8). Raises MountFailed."""
    _run("mount", "-t", kind, *(["-o", options] if options else []), source, str(target))


def unmount(target: Path) -> bool:
    """Unmount with umount(8) what is mounted here; False if nothing is. Raises MountFailed."""
    if not is_mounted(target):
        return False
    _run("umount", str(target))
    return True


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=MOUNT_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MountFailed(f"{' '.join(argv)}: {error}") from error
    if done.returncode != 0:
        raise MountFailed(f"{' '.join(argv)}: {done.stderr.strip()}")


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
