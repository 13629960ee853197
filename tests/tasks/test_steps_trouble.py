"""Remote steps when contact is lost, processes are killed and hosts reboot."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tasks import step_remote
from tasks.env import LostContact
from tasks.steps import StepLost, StepOverdue, stop
from tests.tasks.step_helpers import pid_of, run_once, sh, wait_dead

pytestmark = pytest.mark.usefixtures("real_time")


@pytest.mark.parametrize("when", ["before", "after"])
def test_contact_lost_while_it_runs_is_made_again(shell: Any, tmp_path: Path, when: str) -> None:
    count = tmp_path / "count"
    shell.lose = ["", when, when]  # START answers, two polls do not
    argv = sh('echo x >>"$1"; sleep 1; echo done', str(count))
    assert run_once(shell, argv, step="add", timeout_seconds=20).stdout == "done\n"
    assert count.read_text() == "x\n"


def test_contact_lost_around_the_start_runs_it_once_with_the_next_try(
    shell: Any, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    shell.lose = ["after"]
    argv = sh('echo x >>"$1"', str(count))
    with pytest.raises(LostContact):
        run_once(shell, argv, step="add", timeout_seconds=10)
    assert run_once(shell, argv, step="add", timeout_seconds=10).how == "attached"
    assert count.read_text() == "x\n"


def test_out_of_contact_for_too_long_is_told(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_remote, "OUT_OF_CONTACT_SECONDS", 1.0)
    shell.lose = ["", *["before"] * 20]
    with pytest.raises(LostContact):
        run_once(shell, sh("sleep 30"), step="nap", timeout_seconds=30)
    shell.lose = []
    assert stop(shell, step="nap", run_id="no-run") == "stopped"


def test_a_killed_step_is_lost_and_never_run_again(shell: Any, tmp_path: Path) -> None:
    count, store = tmp_path / "count", tmp_path / "steps"
    argv = sh('echo x >>"$1"; exec sleep 60', str(count))
    shell.lose = ["after"]
    with pytest.raises(LostContact):
        run_once(shell, argv, step="add", timeout_seconds=10)
    pid = pid_of(store, "add")
    os.killpg(pid, signal.SIGKILL)
    wait_dead(pid)
    for _ in range(2):
        with pytest.raises(StepLost, match="left no exit code"):
            run_once(shell, argv, step="add", timeout_seconds=10)
    assert count.read_text() == "x\n"


def test_while_anything_of_it_runs_it_is_not_lost(shell: Any, tmp_path: Path) -> None:
    argv = sh('sleep 2; echo late >"$1"', str(tmp_path / "late"))
    shell.lose = ["after"]
    with pytest.raises(LostContact):
        run_once(shell, argv, step="orphan", timeout_seconds=10)
    os.kill(pid_of(tmp_path / "steps", "orphan"), signal.SIGKILL)
    with pytest.raises(StepLost):
        run_once(shell, argv, step="orphan", timeout_seconds=10)
    assert (tmp_path / "late").exists()


def test_a_reused_pid_is_not_taken_for_the_step(shell: Any, tmp_path: Path) -> None:
    where = tmp_path / "steps" / "no-run.old"
    run_once(shell, sh("true"), step="old", timeout_seconds=10)
    (where / "rc").unlink()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    # This very process lives under that pid, but started at another time.
    (where / "pid").write_text(f"{os.getpid()} 1 {boot}\n")
    with pytest.raises(StepLost):
        run_once(shell, sh("true"), step="old", timeout_seconds=10)


def test_a_step_of_an_earlier_boot_is_lost(shell: Any, tmp_path: Path) -> None:
    where = tmp_path / "steps" / "no-run.old"
    run_once(shell, sh("true"), step="old", timeout_seconds=10)
    (where / "rc").unlink()
    start = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(") ")[2].split()[19]
    (where / "pid").write_text(f"{os.getpid()} {start} another-boot\n")
    with pytest.raises(StepLost):
        run_once(shell, sh("true"), step="old", timeout_seconds=10)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (where / "pid").write_text(f"{os.getpid()} {start} {boot}\n")
    with pytest.raises(StepOverdue):  # the same with this boot's id counts as running
        run_once(shell, sh("true"), step="old", timeout_seconds=1)


def test_claimed_and_never_started_is_lost(shell: Any, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(step_remote, "CLAIMED_SECONDS", 0.5)
    monkeypatch.setattr(step_remote, "POLL_TRIES", 2)
    (tmp_path / "steps" / "no-run.half").mkdir(parents=True)
    with pytest.raises(StepLost):
        run_once(shell, sh("true"), step="half", timeout_seconds=10)
