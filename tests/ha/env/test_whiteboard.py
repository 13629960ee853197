"""One contract for a file, a device where there is one, the simulator, and the tests' stand-in."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ha.core.record import BLOCK_BYTES, RANGE_BYTES
from ha.env import whiteboard
from ha.env.ports import LostWrite, Whiteboard, WhiteboardFailed
from ha.env.whiteboard import StorageWhiteboard
from tests.ha.broker_world import MemoryWhiteboard
from tests.ha.simulator.virtual import simulated_whiteboard

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


@contextmanager
def guarded(kind: str, folder: Path) -> Iterator[Path]:
    """A range with one guard block behind it, as a file or a device."""
    file = folder / "metadata"
    file.write_bytes(b"\0" * RANGE_BYTES + GUARD)
    if kind == "file":
        yield file
        assert file.stat().st_size == RANGE_BYTES + BLOCK_BYTES
    else:
        device = attach_loop(file)
        yield Path(device)
        subprocess.run(["losetup", "--detach", device], check=True)
    assert file.read_bytes()[RANGE_BYTES:] == GUARD


@pytest.fixture(params=["file", "device"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with guarded(request.param, tmp_path) as path:
        yield path


@pytest.fixture(params=["file", "device", "memory", "simulated"])
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Whiteboard]:
    if request.param == "memory":
        yield MemoryWhiteboard()
    elif request.param == "simulated":
        yield simulated_whiteboard()
    else:
        with guarded(request.param, tmp_path) as path:
            yield StorageWhiteboard(path)


def test_a_block_written_is_read(board: Whiteboard) -> None:
    board.write_block(52, BLOCK)
    assert board.read_blocks([52, 1]) == {52: BLOCK}
    assert board.read_blocks(None) == {52: BLOCK}


def test_the_last_host_id_has_a_block(board: Whiteboard) -> None:
    board.write_block(2000, BLOCK)
    assert board.read_blocks(None) == {2000: BLOCK}


def test_neighbours_are_left_alone(board: Whiteboard) -> None:
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
def test_an_id_out_of_range_is_refused(board: Whiteboard, host_id: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        board.write_block(host_id, BLOCK)
    with pytest.raises(ValueError, match="outside"):
        board.read_blocks([host_id])


@pytest.mark.parametrize("size", [0, 512, BLOCK_BYTES - 1, BLOCK_BYTES + 1])
def test_a_block_of_another_size_is_refused(board: Whiteboard, size: int) -> None:
    with pytest.raises(ValueError, match="4096"):
        board.write_block(1, b"1" * size)


def test_a_short_file_reads_as_empty_and_is_never_made_longer(tmp_path: Path) -> None:
    file = tmp_path / "short"
    file.write_bytes(BLOCK * 2 + b"odd")
    board = StorageWhiteboard(file)
    assert board.read_blocks([0, 1, 3]) == {0: BLOCK, 1: BLOCK}
    with pytest.raises(WhiteboardFailed, match="no room"):
        board.write_block(2, BLOCK)
    assert file.stat().st_size == 2 * BLOCK_BYTES + 3


def test_a_block_that_the_end_of_a_file_cuts_off_has_nothing_of_another(tmp_path: Path) -> None:
    file = tmp_path / "short"
    file.write_bytes(BLOCK * 2 + b"odd")
    cut_off = b"odd".ljust(BLOCK_BYTES, b"\0")
    assert StorageWhiteboard(file).read_blocks([0, 2]) == {0: BLOCK, 2: cut_off}


@pytest.mark.parametrize("wanted", [None, list(range(50, 300)), [64, 200, 63, 65]])
def test_blocks_are_told_apart_wherever_they_are(
    board: Whiteboard, wanted: list[int] | None
) -> None:
    blocks = {n: f"1|1|{n}|".encode().ljust(BLOCK_BYTES, b"x") for n in (63, 64, 65, 200)}
    for host_id, block in blocks.items():
        board.write_block(host_id, block)
    assert board.read_blocks(wanted) == blocks


def test_missing_storage_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(WhiteboardFailed, match="metadata: No such file"):
        StorageWhiteboard(tmp_path / "metadata").read_blocks(None)


def test_a_write_that_storage_forgets_is_noticed(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *_: BLOCK_BYTES)
    with pytest.raises(LostWrite):
        StorageWhiteboard(storage).write_block(1, BLOCK)


def test_requests_behind_one_that_hangs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "metadata"
    file.write_bytes(bytes(RANGE_BYTES))
    hanging, may_end = threading.Event(), threading.Event()
    real = os.pwritev

    def hang(*args: Any) -> int:
        hanging.set()
        may_end.wait()
        return real(*args)

    monkeypatch.setattr(os, "pwritev", hang)
    monkeypatch.setattr(whiteboard, "TURN_SECONDS", 0.05)
    board = StorageWhiteboard(file)
    first = threading.Thread(target=board.write_block, args=(1, BLOCK))
    first.start()
    hanging.wait()
    with pytest.raises(WhiteboardFailed, match="have not come back"):
        board.write_block(1, BLOCK)
    assert board.read_blocks([1]) == {}  # reads do not wait for writes
    may_end.set()
    first.join()
    board.write_block(1, BLOCK)
