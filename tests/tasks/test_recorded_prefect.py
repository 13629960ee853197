"""Recorded steps as task runs of a real Prefect server."""

import time
from dataclasses import replace

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from tasks.env import LostContact, World, use_world
from tasks.journal import Journal
from tasks.recorded import look
from tasks.runs import entered_run, recorded_run
from tests.tasks.recorded_sample import (
    calls,
    fail,
    read_blocks,
    write_blocks,
)


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    calls.clear()


@flow(name="sample", retries=0)
@recorded_run("sample")
def sample(cluster: str, host: str = "h1", lose: int = 0) -> str:
    """Do a little.

    Args:
        cluster: the cluster's name
        host: the host to write on
    """
    read_blocks(cluster, host)
    lossy(cluster, lose)
    return write_blocks(cluster, host).value


@look
def lossy(cluster: str, lose: int) -> int:
    calls.append("lossy")
    if calls.count("lossy") <= lose:
        raise LostContact("planted")
    return 1


def task_states(run_id: str, count: int) -> list[tuple[str, str]]:
    """Return name and state of a run's task runs; the server learns of them a little later."""
    ours = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        for _ in range(100):
            runs = client.read_task_runs(flow_run_filter=ours)
            states = sorted((run.name, run.state.name) for run in runs if run.state)
            if len(states) == count and all(run.state.is_final() for run in runs):
                return states
            time.sleep(0.1)
    raise AssertionError(f"the server has {states}")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
class TestInPrefect:
    def test_answered_steps_end_in_a_state_of_their_own(
        self, small_world: World, journal: Journal
    ) -> None:
        @flow(name="twice")
        def twice() -> list[str]:
            seen = []
            for _ in range(2):
                with entered_run("twice", parameters={"cluster": "lab"}):
                    seen.append(write_blocks("lab", "h1").value)
            return seen

        assert twice() == ["changed", "changed"]
        run_id = journal.runs()[0].run_id
        assert task_states(run_id, 2) == [
            ("write_blocks@h1", "Completed"),
            ("write_blocks@h1", "Recorded"),
        ]
        assert calls == ["write h1 ()"]

    def test_only_lost_contact_is_tried_again_and_not_for_ever(self, small_world: World) -> None:
        assert sample("lab", lose=1) == "changed"
        assert calls.count("lossy") == 2
        with use_world(replace(small_world, lost_contact_retries=1)):
            with pytest.raises(LostContact):
                sample("lab", lose=99)
            assert calls.count("lossy") == 4

    def test_other_trouble_is_not_tried_again(self, small_world: World) -> None:
        @flow
        @recorded_run("failing")
        def failing(cluster: str) -> None:
            fail(cluster)

        with pytest.raises(RuntimeError, match="no space"):
            failing("lab")
        assert calls == ["fail"]

    def test_run_id_and_parameters_are_prefects(self, small_world: World, journal: Journal) -> None:
        sample("lab")
        run = journal.runs()[0]
        assert (run.runbook, run.cluster, run.via) == ("sample", "lab", "prefect")
        assert run.parameters == {"cluster": "lab", "host": "h1", "lose": 0}
        assert task_states(run.run_id, 3)[2] == ("write_blocks@h1", "Completed")

    def test_the_form_keeps_its_parameters_and_their_descriptions(self) -> None:
        fields = sample.parameters.properties
        assert list(fields) == ["cluster", "host", "lose"]
        assert fields["cluster"]["description"] == "the cluster's name"
