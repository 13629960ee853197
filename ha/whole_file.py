"""A file that is replaced in one step: a reader finds the old text or the new one, whole."""

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write a file; without a mode it keeps the owner and mode of the one before. Raises OSError.

    The text and its name are on the disk when this returns: no power cut brings the old file back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        # Before the text, which may be a secret.
        if mode is not None:
            fresh.chmod(mode)
        elif path.exists():
            old = path.stat()
            os.chown(fresh, old.st_uid, old.st_gid)
            fresh.chmod(old.st_mode & 0o7777)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
