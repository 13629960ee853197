"""The command is interrupted, or its terminal is lost: what it holds is given back."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ha.cli.sim import SimHost
from tests.ha.cli.test_clean import block, stored  # noqa: F401  (a fixture)

FULL = Path("/dev/full")
PROJECT = Path(__file__).parents[3]
COMMAND = """
import os, sys
import ha.cli.__main__ as command

def run_command(host, arguments):
    try:
        os.kill(os.getpid(), int(arguments[0]))
    finally:
        os.kill(os.getpid(), int(arguments[1]))
        print("given back")
    return 0

command.run_command = run_command
sys.exit(command.main())
"""
ENDS = [signal.SIGHUP, signal.SIGTERM]


def as_from_a_terminal() -> None:
    """Undo what the tests themselves may have inherited, such as nohup's choice."""
    for number in ENDS:
        signal.signal(number, signal.SIG_DFL)


def run(first: int, second: int, *prefix: str) -> "subprocess.CompletedProcess[str]":
    """Run a verb that is sent a signal, and another while it gives back what it holds."""
    argv = [*prefix, sys.executable, "-c", COMMAND, str(int(first)), str(int(second))]
    return subprocess.run(
        argv,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=as_from_a_terminal,
    )


@pytest.fixture(autouse=True)
def _binding() -> None:
    pytest.importorskip("sanlock", reason="the distribution's sanlock binding is missing")


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
def test_a_signal_ends_it_as_an_interrupt_does(first: int, second: int) -> None:
    ended = run(first, second)
    assert (ended.returncode, ended.stdout) == (130, "given back\n"), ended.stderr
    assert ended.stderr == "Interrupted; --vm-status tells what is true now\n"


def test_nohup_is_heeded() -> None:
    ended = run(signal.SIGHUP, signal.SIGHUP, "nohup")
    assert (ended.returncode, ended.stdout) == (0, "given back\n"), ended.stderr


@pytest.mark.skipif(not os.access(FULL, os.W_OK), reason="no /dev/full to write to")
@pytest.mark.parametrize("ends", ["kill", "trouble"])
def test_a_terminal_that_is_gone_does_not_change_the_exit_code(ends: str) -> None:
    trouble = COMMAND.replace("os.kill(os.getpid(), int(arguments[0]))", "raise OSError('disk')")
    command, code = (COMMAND, 130) if ends == "kill" else (trouble, 1)
    # Buffered, as on a host: what could not be written is tried again when the interpreter ends.
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    argv = [sys.executable, "-c", command, "1", "28"]  # SIGWINCH does nothing
    with FULL.open("w") as full:
        ended = subprocess.run(
            argv,
            cwd=PROJECT,
            stdout=full,
            stderr=full,
            env=buffered,
            check=False,
            preexec_fn=as_from_a_terminal,
        )
    assert ended.returncode == code


def test_clean_metadata_gives_the_host_id_back(stored: SimHost) -> None:  # noqa: F811
    stored.sanlock.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        stored.run("--clean-metadata", "--host-id=2")
    assert stored.sanlock.joined == {}
    assert stored.whiteboard.blocks[2] == block(2, stopped=True)


def test_clean_metadata_keeps_the_id_that_this_host_has(stored: SimHost) -> None:  # noqa: F811
    stored.sanlock.joined["hosted-engine"] = 1
    stored.sanlock.interrupts = True
    assert stored.run("--clean-metadata") == 0
    assert stored.sanlock.joined == {"hosted-engine": 1}


def test_deploy_gives_the_host_id_back_and_says_what_is_left(bare: SimHost) -> None:
    bare.sanlock.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        bare.run("--deploy", f"--config-append={bare.root}/answers")
    assert bare.sanlock.joined == {}
    assert not bare.paths.hosted_engine_conf.exists()
    assert "Left behind: a mount: umount " in bare.said


def test_deploy_that_is_interrupted_while_it_waits_for_the_agent_leaves_it_its_id(
    bare: SimHost,
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    bare.clock.naps.append(interrupt)
    with pytest.raises(KeyboardInterrupt):
        bare.run("--deploy", f"--config-append={bare.root}/answers")
    assert bare.sanlock.joined == {"hosted-engine": 1}
    assert "Left behind: this host's configuration" in bare.said
