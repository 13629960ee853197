"""However many runs only looked since: what an earlier run left behind is not forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.journal import Draft, Kind, Phase
from tasks.refusal import CheckRefused
from tasks.runs import entered_run
from tasks.steps import run_once, stop
from tasks.under_way import require_nothing_under_way
from tasks.unfinished import unfinished_write
from tasks.upgrade_plan import _left_by_us
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.tasks.test_under_way import Killed

LAB = {"cluster": "lab"}
WATCHES = 60


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path) as cluster:
        yield cluster


def watched_since() -> None:
    for number in range(WATCHES):
        with entered_run("watch", parameters=LAB, mutates=False, run_id=f"watch-{number}"):
            pass


def begun(cluster: FakeCluster, runbook: str, step: str) -> None:
    journal = cluster.world.journal
    with entered_run(runbook, parameters=LAB, run_id="r1") as run:
        journal.append(run.draft(Kind.CHANGE, step, Phase.INTENT, payload={"task": step}))
    journal.append(Draft("r1", Kind.RUN, runbook, Phase.ENDED, payload={"as": "failed"}))


def test_a_step_at_work_is_still_looked_for(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = cluster.world.shell("lab", "h2")

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("tasks.steps.wait", killed)
        with pytest.raises(Killed), entered_run("sample", parameters=LAB, run_id="r1"):
            run_once(shell, ["sleep", "60"], step="write_zeros", timeout_seconds=60)
    cluster.world.journal.append(Draft("r1", Kind.RUN, "sample", Phase.ENDED))
    watched_since()
    try:
        with pytest.raises(CheckRefused, match="still at work"):
            require_nothing_under_way.fn("lab")
    finally:
        assert stop(shell, step="write_zeros", run_id="r1") == "stopped"


def test_an_unfinished_write_is_still_known(cluster: FakeCluster) -> None:
    begun(cluster, "metadata-too-new", "write_zeros")
    watched_since()
    assert unfinished_write("lab") == "r1"


def test_a_host_that_an_upgrade_left_is_still_known(cluster: FakeCluster) -> None:
    begun(cluster, "upgrade", "enter_local_maintenance@h2")
    watched_since()
    assert _left_by_us("lab") == {"h2"}
