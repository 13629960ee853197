"""One contract for whatever holds the whiteboard: a file, and a device where there is one."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ha.core.record import BLOCK_BYTES, RANGE_BYTES
from ha.env.ports import LostWrite, WhiteboardFailed
from ha.env.whiteboard import StorageWhiteboard

GUARD = b"G" * BLOCK_BYTES
BLOCK = b"1|1|" + b"x" * (BLOCK_BYTES - 4)


def attach_loop(file: Path) -> str:
    """Return the device, or skip where there is none to be had."""
    if os.geteuid() != 0:
        pytest.skip("a loop device needs root")
    argv = ["losetup", "--show", "--find", str(file)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("losetup is not installed")
    if done.returncode:
        pytest.skip(f"no loop device here: {done.stderr.strip()}")
    return done.stdout.strip()


@pytest.fixture(params=["file", "device"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A range and one guard block behind it."""
    file = tmp_path / "metadata"
    file.write_bytes(b"\0" * RANGE_BYTES + GUARD)
    if request.param == "file":
        yield file
        assert file.stat().st_size == RANGE_BYTES + BLOCK_BYTES
    else:
        device = attach_loop(file)
        yield Path(device)
        subprocess.run(["losetup", "--detach", device], check=True)
    assert file.read_bytes()[RANGE_BYTES:] == GUARD


def test_a_block_written_is_read(storage: Path) -> None:
    board = StorageWhiteboard(storage)
    board.write_block(52, BLOCK)
    assert board.read_blocks([52, 1]) == {52: BLOCK}
    assert board.read_blocks(None) == {52: BLOCK}


def test_the_last_host_id_has_a_block(storage: Path) -> None:
    board = StorageWhiteboard(storage)
    board.write_block(2000, BLOCK)
    assert board.read_blocks(None) == {2000: BLOCK}


def test_neighbours_are_left_alone(storage: Path) -> None:
    board = StorageWhiteboard(storage)
    for host_id in (1, 2, 3):
        board.write_block(host_id, BLOCK)
    board.write_block(2, b"\0" * BLOCK_BYTES)
    assert board.read_blocks(None) == {1: BLOCK, 3: BLOCK}


def test_a_link_to_a_link_is_followed(storage: Path, tmp_path: Path) -> None:
    (tmp_path / "inner").symlink_to(storage)
    (tmp_path / "outer").symlink_to(tmp_path / "inner")
    StorageWhiteboard(tmp_path / "outer").write_block(0, BLOCK)
    assert StorageWhiteboard(storage).read_blocks([0]) == {0: BLOCK}


@pytest.mark.parametrize("host_id", [-1, 2001])
def test_an_id_out_of_range_is_refused(storage: Path, host_id: int) -> None:
    board = StorageWhiteboard(storage)
    with pytest.raises(ValueError, match="outside"):
        board.write_block(host_id, BLOCK)
    with pytest.raises(ValueError, match="outside"):
        board.read_blocks([host_id])


@pytest.mark.parametrize("size", [0, 512, BLOCK_BYTES - 1, BLOCK_BYTES + 1])
def test_a_block_of_another_size_is_refused(storage: Path, size: int) -> None:
    with pytest.raises(ValueError, match="4096"):
        StorageWhiteboard(storage).write_block(1, b"1" * size)


def test_a_short_file_reads_as_empty_and_is_never_made_longer(tmp_path: Path) -> None:
    file = tmp_path / "short"
    file.write_bytes(BLOCK * 2 + b"odd")
    board = StorageWhiteboard(file)
    assert board.read_blocks([0, 1, 3]) == {0: BLOCK, 1: BLOCK}
    with pytest.raises(WhiteboardFailed, match="no room"):
        board.write_block(2, BLOCK)
    assert file.stat().st_size == 2 * BLOCK_BYTES + 3


def test_missing_storage_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(WhiteboardFailed, match="metadata: No such file"):
        StorageWhiteboard(tmp_path / "metadata").read_blocks(None)


def test_a_write_that_storage_forgets_is_noticed(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *_: BLOCK_BYTES)
    with pytest.raises(LostWrite):
        StorageWhiteboard(storage).write_block(1, BLOCK)
