"""The shell when the network, sshd or the step breaks: bounded, and nothing runs twice."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.env import (
    HostUnreachable,
    LostContact,
    NoAnswer,
    SystemClock,
    World,
    use_world,
)
from tasks.inventory import Host
from tasks.shell import SshShell
from tasks.ssh_runner import WholeOutput
from tasks.steps import StepLost, run_once
from tests.tasks.real_sshd import QUICK, Sshd, free_port


def test_an_unreachable_host_is_told_with_what_to_look_at(sshd: Sshd) -> None:
    host = Host(name="h9", address="127.0.0.1", port=free_port(), host_id=9)
    with pytest.raises(HostUnreachable, match=r"h9 \(127.0.0.1, port \d+\): no SSH connection"):
        SshShell(host, sshd.ssh(), QUICK).run(["true"])


def test_a_name_that_does_not_resolve_is_told(sshd: Sshd) -> None:
    host = Host(name="h9", address="h9.invalid", host_id=9)
    with pytest.raises(HostUnreachable, match="h9.invalid"):
        SshShell(host, sshd.ssh(), QUICK).run(["true"])


def test_a_server_that_never_says_a_word_is_given_up(sshd: Sshd) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        host = Host(name="h9", address="127.0.0.1", port=mute.getsockname()[1], host_id=9)
        started = time.monotonic()
        with pytest.raises(HostUnreachable):
            SshShell(host, sshd.ssh(), QUICK).run(["true"])
        assert time.monotonic() - started < 8


def test_a_stalled_sshd_is_given_up_and_found_again(sshd: Sshd, ssh_shell: SshShell) -> None:
    ssh_shell.run(["true"])
    stalled = sshd.sessions()
    for pid in stalled:
        os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(LostContact):
            ssh_shell.run(["true"], timeout_seconds=3)
        assert time.monotonic() - started < 12
        assert ssh_shell.run(["echo", "back"]).stdout == "back\n"
    finally:
        for pid in stalled:
            os.kill(pid, signal.SIGCONT)


def test_a_command_without_an_end_is_given_up(ssh_shell: SshShell) -> None:
    started = time.monotonic()
    with pytest.raises(NoAnswer, match="no end within 1 s; it may still be running"):
        ssh_shell.run(["sleep", "20"], timeout_seconds=1)
    assert time.monotonic() - started < 6
    assert ssh_shell.run(["echo", "back"]).stdout == "back\n"


def test_a_command_without_an_end_is_no_lost_contact_while_its_timer_still_ends(
    ssh_shell: SshShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """invoke asks whether its timer's thread is over; that may be a moment after it has acted."""
    monkeypatch.setattr(WholeOutput, "timed_out", False)
    with pytest.raises(NoAnswer, match="no end within 1 s; it may still be running"):
        ssh_shell.run(["sleep", "20"], timeout_seconds=1)


def test_a_session_killed_while_a_command_runs_is_lost_contact(
    sshd: Sshd, ssh_shell: SshShell
) -> None:
    ssh_shell.run(["true"])
    before_seconds = 0.7
    threading.Timer(before_seconds, kill_sessions, [sshd]).start()
    with pytest.raises(LostContact, match="contact lost while `sleep 20` ran"):
        ssh_shell.run(["sleep", "20"], timeout_seconds=15)
    assert ssh_shell.run(["echo", "back"]).stdout == "back\n"


def kill_sessions(sshd: Sshd) -> None:
    for pid in sshd.sessions():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended with its parent
            if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def steps_world(small_world: World) -> Iterator[World]:
    with use_world(replace(small_world, clock=SystemClock())) as put:
        yield put


@pytest.mark.usefixtures("steps_world")
def test_a_step_goes_on_when_its_session_is_killed_and_runs_once(
    sshd: Sshd, ssh_shell: SshShell, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    argv = ["sh", "-c", 'echo x >>"$1"; sleep 3; echo done', "_", str(count)]
    threading.Timer(1.2, kill_sessions, [sshd]).start()
    result = run_once(ssh_shell, argv, step="add", timeout_seconds=30, run_id="r1")
    assert result.stdout == "done\n"
    assert count.read_text() == "x\n"


@pytest.mark.usefixtures("steps_world")
def test_a_killed_step_is_lost(ssh_shell: SshShell, tmp_path: Path) -> None:
    pid_file = tmp_path / "steps" / "r1.kill" / "pid"

    def kill() -> None:
        os.killpg(int(pid_file.read_text().split()[0]), signal.SIGKILL)

    threading.Timer(1.5, kill).start()
    with pytest.raises(StepLost, match="h1: step r1.kill"):
        run_once(ssh_shell, ["sleep", "30"], step="kill", timeout_seconds=20, run_id="r1")
