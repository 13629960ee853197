"""Runs survive kill -9 of engine, runner and server: no step twice, unattended, in time."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.flows.conftest import Served, executions, make_home, serving, wait_for

# The middle step was cut off, so it is entered again; what it does remotely is exactly-once.
ONCE_AND_CUT_OFF = ["first", "middle", "middle", "last"]
UNATTENDED_SECONDS = 120.0


def victims(served: Served, run_id: str, who: str) -> list[int]:
    record = served.record()
    engines = served.engines(run_id)
    assert engines
    chosen = {
        "engine": engines,
        "runner": [record.runner_pid],
        "runner and engine": [record.runner_pid, *engines],
        "server": [record.server_pid],
    }
    return [pid for pid in chosen[who] if pid]


@pytest.mark.slow
@pytest.mark.parametrize("who", ["engine", "runner", "runner and engine", "server"])
def test_a_killed_run_continues(served: Served, who: str) -> None:
    folder = served.folder()
    run_id = served.start(folder, seconds=3)
    wait_for(lambda: "middle" in executions(folder))
    for pid in victims(served, run_id, who):
        os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    wait_for(lambda: executions(folder)[-1:] == ["last"], UNATTENDED_SECONDS)
    assert time.monotonic() - began < UNATTENDED_SECONDS
    # An engine whose server is away goes on, and may have ended its step before it is back.
    once = ["first", "middle", "last"] if who == "server" else ONCE_AND_CUT_OFF
    assert executions(folder) in (once, ONCE_AND_CUT_OFF)
    wait_for(lambda: served.ready() and served.state(run_id) == "Completed")


@pytest.mark.slow
def test_runner_and_server_killed_at_the_gate(served: Served) -> None:
    folder = served.folder()
    run_id = served.start(folder, expires_seconds=600)
    wait_for(lambda: served.state(run_id) == "Suspended")
    record = served.record()
    for pid in (record.runner_pid, record.server_pid):
        assert pid
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: served.record().runner_pid not in (record.runner_pid, None))
    approved = served.runbook("approve", run_id, "--reason=go on", "--set=target=lab")
    assert approved.returncode == 0, approved.stderr
    wait_for(lambda: executions(folder) == ["first", "middle", "last"])


@pytest.mark.slow
def test_nothing_of_an_old_runner_is_left_beside_the_new_one(served: Served) -> None:
    folder = served.folder()
    run_id = served.start(folder, seconds=30)
    wait_for(lambda: "middle" in executions(folder))
    (engine,) = served.engines(run_id)
    runner = served.record().runner_pid
    assert runner
    os.kill(runner, signal.SIGKILL)
    wait_for(lambda: executions(folder).count("middle") == 2)
    assert engine not in served.engines(run_id)
    served.runbook("cancel", run_id)


def in_the_middle(served: Served, seconds: int) -> tuple[str, Path]:
    folder = served.folder()
    run_id = served.start(folder, seconds=seconds)
    wait_for(lambda: "middle" in executions(folder))
    return run_id, folder


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.slow
def test_a_run_continues_after_the_supervisor_itself_was_killed_or_stopped(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    with serving(home) as supervisor:
        killed, killed_folder = in_the_middle(home, seconds=3)
        record = home.record()
        processes = [record.server_pid, record.runner_pid, *home.engines(killed)]
        supervisor.kill()
        supervisor.wait()
        for pid in processes:
            assert pid
            wait_for(lambda pid=pid: gone(pid))
    with serving(home):
        wait_for(lambda: home.state(killed) == "Completed")
        assert executions(killed_folder) == ONCE_AND_CUT_OFF
        stopped, stopped_folder = in_the_middle(home, seconds=3)
    with serving(home):
        wait_for(lambda: home.state(stopped) == "Completed")
        # On a busy machine the stop may cut off two attempts.
        first, *middle, last = executions(stopped_folder)
        assert (first, set(middle), last) == ("first", {"middle"}, "last")
        assert len(middle) >= 2


@pytest.mark.slow
def test_a_lost_heartbeat_is_enough_to_be_continued(served: Served) -> None:
    run_id, folder = in_the_middle(served, seconds=2)
    record = served.record()
    doomed = [record.runner_pid, *served.engines(run_id)]
    os.kill(record.supervisor_pid, signal.SIGSTOP)  # nobody but the automation can notice
    try:
        for pid in doomed:
            assert pid
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: served.state(run_id) == "Crashed", UNATTENDED_SECONDS)
    finally:
        os.kill(record.supervisor_pid, signal.SIGCONT)
    wait_for(lambda: served.state(run_id) == "Completed")
    assert executions(folder) == ONCE_AND_CUT_OFF
