"""A second copy of a backup, on the control node: its blocks, compressed, for the case that the
host that made it is gone; and the way of such a copy back to a host.

Only the range that hosted engine reads is kept (8 MB, next to nothing when compressed), as the
rest of the volume is not used by anybody.
"""

import gzip
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from posixpath import basename

from ha.core.record import BLOCK_BYTES
from tasks.env import Shell, world
from tasks.hosts import sh
from tasks.limits import limit
from tasks.run_site import Site
from tasks.runs import current_run
from tasks.steps import run_once
from tasks.witnesses import range_blocks

# A host takes 64 KiB at a time. The same piece at the same place: sent twice, nothing is different.
PIECE_BYTES = 48 * 1024
PIECE = """
umask 077
mkdir -p -- "$(dirname -- "$1")" || exit
dd of="$1" bs="$2" seek="$3" count=1 iflag=fullblock conv=notrunc 2>/dev/null
"""
UNPACK = """
umask 077
now=$(sha256sum <"$1"); [ "${now%% *}" = "$3" ] || { echo "$1 is not what was sent" >&2; exit 65; }
gzip -dc <"$1" >"$2" && sync && rm -f -- "$1"
"""


class CopyUnusable(Exception):
    """The copy on the control node is not there, or is not what was recorded."""


def range_bytes(size_bytes: int) -> int:
    """Return how many bytes of a volume a copy has."""
    return range_blocks(size_bytes) * BLOCK_BYTES


def ranged(site: Site) -> Site:
    """Return the site over only that part of its volume that a copy has."""
    target = site.target
    return site.at(replace(target, size_bytes=range_bytes(target.size_bytes)))


def keep_copy(site: Site, path: str) -> tuple[str, str]:
    """Copy a backup from the acting host; returns the copy's path and the SHA-256 of its bytes.

    Both are empty where this world keeps none. Raises CopyUnusable.
    """
    folder = world().backups
    if folder is None:
        return "", ""
    data = site.read_file(site.actor, path)
    found = hashlib.sha256(data).hexdigest()
    if found != ranged(site).digest(site.actor, path):
        raise CopyUnusable(f"the copy of {site.actor}:{path} differs from it; start a new run")
    run = current_run()
    file = folder / (run.run_id if run else "no-run") / f"{basename(path)}.gz"
    _write(file, gzip.compress(data, mtime=0))
    return str(file), found


def read_copy(path: str, sha256: str) -> bytes:
    """Return the bytes of a copy. Raises CopyUnusable."""
    try:
        data = gzip.decompress(Path(path).read_bytes())
    except (OSError, EOFError) as error:
        raise CopyUnusable(
            f"the copy {path} on the control node cannot be read: {error}"
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CopyUnusable(f"copy {path} on the control node is not the one recorded")
    return data


def send_copy(shell: Shell, data: bytes, path: str) -> None:
    """Send bytes to a host piece by piece, compressed, and put them there."""
    packed = gzip.compress(data, mtime=0)
    sent = f"{path}.part"
    for number, start in enumerate(range(0, len(packed), PIECE_BYTES)):
        piece = packed[start : start + PIECE_BYTES]
        argv = sh(PIECE, sent, str(PIECE_BYTES), str(number))
        shell.run(argv, stdin=piece, timeout_seconds=limit("look_seconds")).checked()


def unpack_command(data: bytes, path: str) -> tuple[str, ...]:
    """Return the command that turns what was sent into the file."""
    packed = gzip.compress(data, mtime=0)
    return sh(UNPACK, f"{path}.part", path, hashlib.sha256(packed).hexdigest())


def unpack(shell: Shell, data: bytes, path: str, *, step: str) -> None:
    """Put the file in place on the host, exactly once."""
    run_once(shell, unpack_command(data, path), step=step, timeout_seconds=limit("backup_seconds"))


def _write(file: Path, data: bytes) -> None:
    """Write a file that only we may read, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
