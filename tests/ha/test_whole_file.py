"""A file written whole stays, also over a power cut."""

import os
from pathlib import Path

import pytest

from ha.whole_file import write_whole


def test_the_new_name_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut within seconds brings the old file back."""
    file, real, synced = tmp_path / "ha.conf", os.fsync, []

    def fsync(opened: int) -> None:
        synced.append((os.fstat(opened).st_ino, file.exists()))
        real(opened)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(file, "new")
    assert synced == [(file.stat().st_ino, False), (tmp_path.stat().st_ino, True)]
