"""The exactly-once remote step, on this machine's own /bin/sh."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import step_remote, steps
from tasks.env import CommandFailed, LostContact, SystemClock, World, use_world
from tasks.journal import Journal, Kind, Phase
from tasks.runs import entered_run
from tasks.step_scripts import POLL, START
from tasks.steps import StepFailed, StepLost, StepOverdue, StepResult, StepStopped, stop

pytestmark = pytest.mark.usefixtures("real_time")


@pytest.fixture
def real_time(small_world: World) -> Iterator[World]:
    with use_world(replace(small_world, clock=SystemClock())) as put:
        yield put


def run_once(shell: Any, argv: list[str], **more: Any) -> StepResult:
    return steps.run_once(shell, argv, run_id="no-run", **more)


def sh(script: str, *args: str) -> list[str]:
    return ["sh", "-c", script, "_", *args]


def pid_of(store: Path, step: str, run_id: str = "no-run") -> int:
    path = store / f"{run_id}.{step}" / "pid"
    while not path.exists():
        time.sleep(0.02)
    return int(path.read_text().split()[0])


def wait_dead(pid: int) -> None:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError(f"{pid} still runs")


def test_output_exit_code_and_digest_come_back(shell: Any, tmp_path: Path) -> None:
    result = run_once(shell, sh('echo "$1"; echo two >&2', "o n'e"), step="say", timeout_seconds=10)
    assert (result.exit_code, result.stdout, result.how) == (0, "o n'e\ntwo\n", "started")
    place = Path(result.place)
    assert place.read_text() == "o n'e\ntwo\n"
    assert (
        result.sha256
        == subprocess.run(
            ["sha256sum", place], capture_output=True, text=True, check=True
        ).stdout.split()[0]
    )
    assert (tmp_path / "steps").stat().st_mode & 0o077 == 0


def test_arguments_are_passed_never_pasted(shell: Any, tmp_path: Path) -> None:
    hostile = ["$(touch PWNED)", "`id`", "a b", "'", '"', "-n", "*", "", "x;reboot", "é", "l\nm"]
    script = 'for a in "$@"; do printf "<%s>" "$a"; done'
    result = run_once(shell, sh(script, *hostile), step="say", timeout_seconds=10)
    assert result.stdout == "".join(f"<{word}>" for word in hostile)
    assert not list(tmp_path.rglob("PWNED"))


def test_a_second_call_attaches_and_does_not_run_again(shell: Any, tmp_path: Path) -> None:
    count = tmp_path / "count"
    argv = sh('echo x >>"$1"; sleep 0.5; echo done', str(count))
    first = run_once(shell, argv, step="add", timeout_seconds=10)
    second = run_once(shell, argv, step="add", timeout_seconds=10)
    assert (first.how, second.how) == ("started", "attached")
    assert first.stdout == second.stdout
    assert count.read_text() == "x\n"


def test_two_that_start_it_at_once_run_it_once(tmp_path: Path) -> None:
    count, store = tmp_path / "count", tmp_path / "steps"
    argv = ["sh", "-c", START, "step", str(store), "r.s", "digest"]
    argv += sh('echo x >>"$1"', str(count))
    started = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = sorted(process.communicate()[0].strip() for process in started)
    assert said == ["attached"] * 7 + ["started"]
    while not (store / "r.s" / "rc").exists():
        time.sleep(0.02)
    assert count.read_text() == "x\n"


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


def test_an_exit_code_that_is_not_accepted_fails_and_says_what_was_said(shell: Any) -> None:
    argv = sh("echo no space; exit 3")
    with pytest.raises(StepFailed, match=r"h1: step no-run.bad ended with exit code 3: no space"):
        run_once(shell, argv, step="bad", timeout_seconds=10)
    assert run_once(shell, argv, step="bad", timeout_seconds=10, accept=(0, 3)).exit_code == 3


def test_another_command_under_the_same_id_is_refused(shell: Any) -> None:
    run_once(shell, sh("true"), step="one", timeout_seconds=10)
    with pytest.raises(StepFailed, match="was started with another command"):
        run_once(shell, sh("false"), step="one", timeout_seconds=10)


def test_a_step_that_is_too_long_is_told_and_goes_on(shell: Any, tmp_path: Path) -> None:
    with pytest.raises(StepOverdue, match="not ended within 1 s; it still runs"):
        run_once(shell, sh("sleep 60"), step="long", timeout_seconds=1)
    assert stop(shell, step="long", run_id="no-run") == "stopped"
    wait_dead(pid_of(tmp_path / "steps", "long"))


def test_stop_kills_the_whole_group_and_is_told(shell: Any, tmp_path: Path) -> None:
    # A child that ignores TERM in a pipeline of a shell.
    script = 'sh -c "trap \\"\\" TERM; echo \\$\\$ >$1; sleep 60; sleep 60" | cat & wait'
    argv = sh(script, str(tmp_path / "child"))
    with pytest.raises(StepOverdue):
        run_once(shell, argv, step="tree", timeout_seconds=1)
    assert stop(shell, step="tree", run_id="no-run", term_seconds=0.5) == "stopped"
    wait_dead(int((tmp_path / "child").read_text()))
    with pytest.raises(StepStopped, match="stopped by an operator"):
        run_once(shell, argv, step="tree", timeout_seconds=5)
    assert stop(shell, step="none", run_id="no-run") == "none"


def test_progress_shows_output_while_it_runs(shell: Any) -> None:
    seen: list[tuple[float, str]] = []
    started = time.monotonic()
    run_once(
        shell,
        sh("for i in 1 2 3; do echo $i; sleep 0.6; done"),
        step="talk",
        timeout_seconds=20,
        progress=lambda text: seen.append((time.monotonic() - started, text)),
    )
    assert "".join(text for _, text in seen) == "1\n2\n3\n"
    assert seen[0][0] < 0.6


def test_a_flood_of_output_is_cut_but_digested_whole(shell: Any) -> None:
    script = 'head -c 700000 /dev/zero | tr "\\0" x; echo end'
    result = run_once(shell, sh(script), step="flood", timeout_seconds=30)
    assert result.stdout.endswith("xend\n")
    assert len(result.stdout) == step_remote.KEPT_BYTES
    assert Path(result.place).stat().st_size == 700_004


def test_a_store_that_cannot_be_written_starts_nothing(
    shell: Any, small_world, tmp_path: Path
) -> None:
    with (
        use_world(replace(small_world, step_store=Path("/proc/none"), clock=SystemClock())),
        pytest.raises(CommandFailed, match="exit code 73"),
    ):
        run_once(shell, sh('touch "$1"', str(tmp_path / "ran")), step="s", timeout_seconds=5)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a b", "-x", "x" * 200])
def test_a_step_name_that_is_no_file_name_is_refused(shell: Any, name: str) -> None:
    with pytest.raises(ValueError, match="not a step name"):
        run_once(shell, sh("true"), step=name, timeout_seconds=5)


def test_in_a_run_it_is_recorded_and_answers_without_asking_the_host(
    shell, journal: Journal
) -> None:
    argv = sh("echo once")
    with entered_run("rb", parameters={"cluster": "lab"}, run_id="r1"):
        run_once(shell, argv, step="say", timeout_seconds=10)
    shell.lose = ["before"] * 9
    with entered_run("rb", parameters={"cluster": "lab"}, run_id="r1"):
        again = run_once(shell, argv, step="say", timeout_seconds=10)
    assert (again.how, again.stdout) == ("recorded", "once\n")
    remote = [entry for entry in journal.entries("r1") if entry.kind is Kind.REMOTE]
    assert [(e.phase, e.step, e.host) for e in remote] == [
        (Phase.INTENT, "say@h1", "h1"),
        (Phase.OUTCOME, "say@h1", "h1"),
    ]
    assert remote[0].payload["argv"] == argv
    assert remote[1].payload["sha256"] == again.sha256


@pytest.mark.parametrize("script", [START, POLL])
def test_the_scripts_are_plain_sh(script: str) -> None:
    subprocess.run(["dash", "-n", "-c", script], check=True)
    subprocess.run(["bash", "--posix", "-n", "-c", script], check=True)
