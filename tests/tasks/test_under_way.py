"""What an earlier run sent to a host and still runs there keeps the next run out."""

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from tasks.journal import Draft, Kind, Phase
from tasks.refusal import CheckRefused
from tasks.runs import entered_run
from tasks.steps import run_once, stop
from tasks.under_way import require_nothing_under_way
from tests.fake_cluster import FakeCluster, fake_cluster

ID = "metadata-too-new"
LAB = {"cluster": "lab"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path) as cluster:
        yield cluster


class Killed(BaseException):
    """Stands for kill -9: nothing of the run's own handles it."""


def test_a_step_at_work_is_refused_until_it_has_ended(cluster: FakeCluster) -> None:
    shell = cluster.world.shell("lab", "h2")
    with (
        mock.patch("tasks.steps.wait", side_effect=Killed),
        pytest.raises(Killed),
        entered_run(ID, parameters=LAB, run_id="r1"),
    ):
        run_once(shell, ["sleep", "60"], step="write_zeros", timeout_seconds=60)
    cluster.world.journal.append(Draft("r1", Kind.RUN, ID, Phase.ENDED))
    with (
        pytest.raises(CheckRefused, match=r"h2: step r1\.write_zeros .* still at work.*r1.*/pid"),
        entered_run(ID, parameters=LAB, run_id="r2"),
    ):
        require_nothing_under_way.fn("lab")
    assert stop(shell, step="write_zeros", run_id="r1") == "stopped"
    with entered_run(ID, parameters=LAB, run_id="r3"):
        assert require_nothing_under_way.fn("lab") == ("r1.write_zeros",)


def test_a_step_that_ended_is_not_looked_at(cluster: FakeCluster) -> None:
    with entered_run(ID, parameters=LAB, run_id="r1"):
        run_once(cluster.world.shell("lab", "h2"), ["true"], step="well", timeout_seconds=10)
    with entered_run(ID, parameters=LAB, run_id="r2"):
        assert require_nothing_under_way.fn("lab") == ()
