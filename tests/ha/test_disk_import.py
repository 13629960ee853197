"""The imported engine disk is what the image is, or the import fails."""

import os
from pathlib import Path

import pytest

from ha.disk_import import import_disk
from ha.storage_domain import StorageError

MIB = 1024 * 1024
# Zeroes in the middle, and an end that is no whole page.
IMAGE = b"boot" * MIB + bytes(8 * MIB) + b"tail" * MIB + b"end"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "image.raw"
    file.write_bytes(IMAGE)
    return file


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A device with an older engine on it, larger than the image."""
    file = tmp_path / "disk"
    file.write_bytes(b"\xaa" * (len(IMAGE) + MIB))
    return file


def copy(image: Path, disk: Path, *, sparse: bool = False) -> None:
    import_disk(image, disk, sparse=sparse, say=lambda line: None)


def test_a_device_holds_the_image_and_beyond_it_what_it_held(image: Path, disk: Path) -> None:
    copy(image, disk)
    assert disk.read_bytes() == IMAGE + b"\xaa" * MIB


def test_a_new_file_stays_sparse(image: Path, disk: Path) -> None:
    os.truncate(disk, 0)
    os.truncate(disk, len(IMAGE))
    copy(image, disk, sparse=True)
    assert disk.read_bytes() == IMAGE
    assert disk.stat().st_blocks * 512 < len(IMAGE) - 4 * MIB


def test_a_write_may_take_a_part_only(
    image: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    monkeypatch.setattr(
        os, "pwrite", lambda file, data, at: real(file, data[: max(1, len(data) // 3)], at)
    )
    copy(image, disk)
    assert disk.read_bytes().startswith(IMAGE)


def test_a_write_that_takes_nothing(
    image: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: 0)
    with pytest.raises(OSError, match="nothing was written at 0"):
        copy(image, disk)


@pytest.mark.parametrize("at", [0, len(IMAGE) - 3])
def test_a_write_that_is_lost(
    image: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The first chunk, or the last: storage says that it was written."""
    real, chunk = os.pwrite, 4 * MIB

    def pwrite(file: int, data: bytes, offset_bytes: int) -> int:
        lost = offset_bytes // chunk == at // chunk
        return len(data) if lost else real(file, data, offset_bytes)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(StorageError, match=r"disk is no copy of .*image.raw: sha256"):
        copy(image, disk)


def test_a_device_that_is_too_small(image: Path, disk: Path) -> None:
    os.truncate(disk, len(IMAGE) - 1)
    with pytest.raises(StorageError, match="are needed"):
        copy(image, disk)
