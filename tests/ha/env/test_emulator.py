"""The emulator's process, found by libvirt's pid file, on real processes."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ha.env.emulator import Emulator

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def emulator(tmp_path: Path) -> Emulator:
    return Emulator("HostedEngine", tmp_path)


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    argv = [sys.executable, "-c", SLEEP, "-name", "guest=HostedEngine,debug-threads=on"]
    with subprocess.Popen(argv) as process:
        wait_for_arguments(process.pid)
        yield process
        process.kill()


def wait_for_arguments(pid: int) -> None:
    """The kernel closes what Popen waits for a moment before it sets the new command line."""
    while not Path(f"/proc/{pid}/cmdline").read_bytes():
        time.sleep(0.01)


def write_pid(folder: Path, pid: int | str) -> None:
    (folder / "HostedEngine.pid").write_text(f"{pid}")


def test_it_is_killed_and_gone_when_that_returns(
    emulator: Emulator, tmp_path: Path, process: "subprocess.Popen[bytes]"
) -> None:
    write_pid(tmp_path, process.pid)
    assert emulator.kill(5.0) is True
    assert process.wait(0.0) == -9
    assert emulator.kill(5.0) is False  # there is none any more


@pytest.mark.parametrize("name", ["guest=HostedEngineLocal", "guest=Another,x=HostedEngine", "-x"])
def test_another_process_that_got_its_pid_is_left_alone(
    emulator: Emulator, tmp_path: Path, name: str
) -> None:
    argv = [sys.executable, "-c", SLEEP, "-name", name]
    with subprocess.Popen(argv) as other:
        wait_for_arguments(other.pid)
        write_pid(tmp_path, other.pid)
        assert emulator.kill(5.0) is False
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "4194305"])
def test_a_file_without_a_process_is_none(emulator: Emulator, tmp_path: Path, text: str) -> None:
    write_pid(tmp_path, text)
    assert emulator.kill(5.0) is False


def test_no_file_is_none(emulator: Emulator) -> None:
    assert emulator.kill(5.0) is False
