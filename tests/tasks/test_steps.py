"""The exactly-once remote step, on this machine's own /bin/sh."""

import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import step_remote
from tasks.env import SystemClock, use_world
from tasks.journal import Journal, Kind, Phase
from tasks.runs import entered_run
from tasks.step_scripts import POLL, START
from tasks.steps import StepFailed, StepOverdue, StepStopped, stop
from tests.tasks.step_helpers import pid_of, run_once, sh, wait_dead

pytestmark = pytest.mark.usefixtures("real_time")


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
    argv = ["sh", "-c", START, "step", str(store), "r.s", "digest", "10"]
    argv += sh('echo x >>"$1"', str(count))
    started = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = sorted(process.communicate()[0].strip() for process in started)
    assert said == ["attached"] * 7 + ["started"]
    while not (store / "r.s" / "rc").exists():
        time.sleep(0.02)
    assert count.read_text() == "x\n"


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
        pytest.raises(StepFailed, match=r"h1: step no-run.s was not started.*with `df /proc/none`"),
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
