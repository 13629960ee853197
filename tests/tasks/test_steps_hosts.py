"""Remote steps on hosts that are old, full, slow or out of reach for a while."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tasks import step_remote
from tasks.env import LostContact, Ran, SystemClock, World, use_world
from tasks.runs import entered_run
from tasks.step_scripts import COMMON
from tasks.steps import StepFailed, StepLost, StepStopped, stop
from tests.tasks.real_sshd import Sshd
from tests.tasks.step_helpers import run_once, sh

# All that the step scripts use, and no systemd: what el6 has.
TOOLS = (
    *("cat", "cut", "dd", "find", "grep", "head", "mkdir", "mv", "rm", "sed", "setsid"),
    *("sha256sum", "sleep", "tail", "tr", "wc"),
)
WIDER_PATH = "PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin; export PATH; "


@dataclass
class OldHost:
    """A host with nothing on its PATH but some tools."""

    bin: Path
    host: str = "h1"

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_seconds: float = 30.0
    ) -> Ran:
        words = [word.replace(WIDER_PATH, "") for word in argv]
        done = subprocess.run(
            [self.bin / words[0], *words[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            env={"PATH": str(self.bin)},
        )
        return Ran(self.host, tuple(argv), done.returncode, done.stdout, done.stderr)


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found, f"no {name} here: make debian-packages"
    return found


@pytest.fixture(params=["busybox", "dash"])
def old_host(request: pytest.FixtureRequest, tmp_path: Path) -> OldHost:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", *TOOLS):
        target = "busybox" if request.param == "busybox" else {"sh": "dash"}.get(name, name)
        (folder / name).symlink_to(tool(target))
    return OldHost(folder)


def test_a_step_needs_no_systemd_and_only_plain_tools(old_host: OldHost, real_time: World) -> None:
    assert WIDER_PATH in COMMON
    assert old_host.run(["sh", "-c", "command -v systemctl systemd-run"]).exit_code != 0
    script = 'echo "$1"; sleep 0.5; echo two >&2; exit 3'
    for how in ("started", "attached"):
        argv = sh(script, "o n'e")
        result = run_once(old_host, argv, step="say", timeout_seconds=20, accept=(3,))
        assert (result.stdout, result.exit_code, result.how) == ("o n'e\ntwo\n", 3, how)
        assert len(result.sha256) == 64


def test_there_too_a_step_is_stopped_as_a_whole(old_host: OldHost, real_time: World) -> None:
    with pytest.raises(StepFailed, match="has not ended"):
        run_once(old_host, sh("sleep 60 | cat & wait"), step="long", timeout_seconds=1)
    assert stop(old_host, step="long", run_id="no-run") == "stopped"
    with pytest.raises(StepStopped):
        run_once(old_host, sh("sleep 60 | cat & wait"), step="long", timeout_seconds=5)


def test_there_too_a_step_that_was_killed_is_lost(old_host: OldHost, real_time: World) -> None:
    with pytest.raises(StepLost):
        run_once(old_host, sh("kill -9 0"), step="dies", timeout_seconds=10)


def test_what_was_stopped_before_it_came_never_begins(
    shell: Any, real_time: World, tmp_path: Path
) -> None:
    assert stop(shell, step="late", run_id="no-run") == "none"
    with pytest.raises(StepStopped):
        run_once(shell, sh('touch "$1"', str(tmp_path / "ran")), step="late", timeout_seconds=5)
    assert not (tmp_path / "ran").exists()


def test_a_step_that_was_held_up_does_not_begin_any_more(
    shell: Any, real_time: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    # The disk hangs for the pid file, which is the third to be written.
    (slow / "dd").write_text(
        f'#!/bin/sh\necho >>{slow}/n; [ "$(wc -l <{slow}/n)" != 3 ] || sleep 3\nexec /bin/dd "$@"\n'
    )
    (slow / "dd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    monkeypatch.setattr(step_remote, "START_WITHIN_SECONDS", 1)
    monkeypatch.setattr(step_remote, "CLAIMED_SECONDS", 1.0)
    monkeypatch.setattr(step_remote, "POLL_TRIES", 2)
    argv = sh('touch "$1"', str(tmp_path / "ran"))
    with pytest.raises(StepLost):
        run_once(shell, argv, step="slow", timeout_seconds=20)
    time.sleep(3)
    assert not (tmp_path / "ran").exists()
    assert "too late" in (tmp_path / "steps" / "no-run.slow" / "out").read_text()


@contextmanager
def small_disk(where: Path, size: str) -> Iterator[Path]:
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
class TestFullDisk:
    def test_on_a_full_disk_nothing_starts_and_the_host_is_named(
        self, shell: Any, real_time: World, tmp_path: Path
    ) -> None:
        with small_disk(tmp_path / "var", "64k") as var:
            (var / "flood").write_bytes(bytes(65536))
            argv = sh('touch "$1"', str(tmp_path / "ran"))
            with use_world(replace(real_time, step_store=var)):
                for _ in range(2):
                    with pytest.raises(StepFailed, match=r"h1: step no-run.full was not started"):
                        run_once(shell, argv, step="full", timeout_seconds=5)
                assert not (tmp_path / "ran").exists()
                (var / "flood").unlink()
                run_once(shell, argv, step="full", timeout_seconds=5)
        assert (tmp_path / "ran").exists()

    def test_a_disk_that_the_command_fills_does_not_hide_how_it_ended(
        self, shell: Any, real_time: World, tmp_path: Path
    ) -> None:
        with small_disk(tmp_path / "var", "256k") as var:
            with use_world(replace(real_time, step_store=var)):
                script = "head -c 1000000 /dev/zero; exit 7"
                result = run_once(shell, sh(script), step="f", timeout_seconds=9, accept=(7,))
            assert result.exit_code == 7


def test_old_steps_are_forgotten_at_the_end_of_a_run(
    shell: Any, real_time: World, tmp_path: Path
) -> None:
    store, long_ago = tmp_path / "steps", time.time() - 31 * 86400
    for name, files in {
        "old.ended": ("rc", "out"),
        "old.stopped": ("stopped",),
        "old.lost": ("pid", "out"),
        "new.ended": ("rc",),
    }.items():
        (store / name).mkdir(parents=True)
        for file in files:
            (store / name / file).touch()
            if name.startswith("old"):
                os.utime(store / name / file, (long_ago, long_ago))
    with entered_run("rb", parameters={"cluster": "lab"}, run_id="r1"):
        run_once_in_run(shell)
    assert {path.name for path in store.iterdir()} == {"old.lost", "new.ended", "r1.say"}


def run_once_in_run(shell: Any) -> None:
    run_once(shell, sh("echo once"), step="say", timeout_seconds=10)


@pytest.mark.parametrize(("seconds", "survives"), [(115, True), (140, False)])
def test_two_minutes_out_of_contact_are_survived(
    shell: Any, small_world: World, clock: Any, seconds: int, survives: bool
) -> None:
    run, until = shell.run, None

    def lost_for_a_while(argv: Sequence[str], **more: Any) -> Ran:
        nonlocal until
        if until is not None and clock.monotonic() < until:
            raise LostContact("h1: planted")
        ran: Ran = run(argv, **more)
        until = clock.monotonic() + seconds if until is None else until
        return ran

    shell.run = lost_for_a_while
    argv = sh("echo done")
    if survives:
        assert run_once(shell, argv, step="s", timeout_seconds=600).stdout == "done\n"
    else:
        with pytest.raises(LostContact):
            run_once(shell, argv, step="s", timeout_seconds=600)


@pytest.mark.slow
def test_an_ssh_server_that_is_gone_for_a_while_is_survived(
    sshd: Sshd, real_time: World, tmp_path: Path
) -> None:
    shell = sshd.shell()
    count = tmp_path / "count"

    def gone(text: str) -> None:
        if "begun" not in text:
            return
        for pid in (*sshd.sessions(), sshd.process.pid):
            os.kill(pid, 9)
        sshd.process.wait()
        time.sleep(4)
        sshd.process = subprocess.Popen(sshd.process.args, stderr=subprocess.DEVNULL)

    argv = sh('echo x >>"$1"; echo begun; sleep 6; echo done', str(count))
    with use_world(replace(real_time, clock=SystemClock())):
        result = run_once(shell, argv, step="s", timeout_seconds=60, progress=gone)
    shell.close()
    assert result.stdout == "begun\ndone\n"
    assert count.read_text() == "x\n"
