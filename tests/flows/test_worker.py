"""The same runs by a process work pool: gates, kills, and a cancellation."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.conftest import Served, executions, make_home, serving, wait_for

pytestmark = pytest.mark.slow
POOL = "sample-pool"


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = make_home(tmp_path_factory.mktemp("pooled") / "home")
    with serving(home, "serve-pool"):
        yield home


def test_a_run_of_the_pool_waits_at_its_gate_and_goes_on_after_the_answer(pooled: Served) -> None:
    folder = pooled.folder()
    run_id = pooled.start(folder, expires_seconds=600)
    wait_for(lambda: pooled.state(run_id) == "Suspended")
    assert pooled.api.get(f"/flow_runs/{run_id}")["work_pool_name"] == POOL
    approved = pooled.runbook("approve", run_id, "--reason=go on", "--set=target=lab")
    assert approved.returncode == 0, approved.stderr
    wait_for(lambda: pooled.state(run_id) == "Completed")
    assert executions(folder) == ["first", "middle", "last"]


def test_a_run_of_the_pool_whose_process_is_killed_continues(pooled: Served) -> None:
    folder = pooled.folder()
    run_id = pooled.start(folder, seconds=3)
    wait_for(lambda: "middle" in executions(folder))
    for pid in pooled.engines(run_id):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pooled.state(run_id) == "Completed", 120.0)
    # Noticed late, on a busy machine, the death may cut off the attempt that follows as well.
    first, *middle, last = executions(folder)
    assert (first, set(middle), last) == ("first", {"middle"}, "last")
    assert len(middle) >= 2


def test_a_run_of_the_pool_is_cancelled(pooled: Served) -> None:
    folder = pooled.folder()
    run_id = pooled.start(folder, seconds=60)
    wait_for(lambda: "middle" in executions(folder))
    cancelled = pooled.runbook("cancel", run_id)
    assert cancelled.returncode == 0, cancelled.stderr
    wait_for(lambda: pooled.state(run_id) == "Cancelled")
    wait_for(lambda: not pooled.engines(run_id))
    assert executions(folder) == ["first", "middle"]


def test_a_worker_that_is_killed_is_started_again_and_works_on(pooled: Served) -> None:
    worker = pooled.record().runner_pid
    assert worker
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: pooled.record().runner_pid not in (worker, None))
    folder: Path = pooled.folder()
    run_id = pooled.start(folder)
    wait_for(lambda: pooled.state(run_id) == "Completed")
