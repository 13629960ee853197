"""What Prefect says of a run that still holds a cluster's lock."""

from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running, Suspended

from tasks import prefect_runs
from tasks.prefect_runs import is_over

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


@flow
def nothing() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("state", "over"),
    [
        (Pending(), False),
        (Running(), False),
        (Suspended(), False),
        (Completed(), True),
        (Failed(), True),
        (Cancelled(), True),
        (Crashed(), False),  # it is about to be scheduled again
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_run_in_this_state(state: object, over: bool) -> None:
    with get_client(sync_client=True) as client:
        run_id = client.create_flow_run(nothing, state=Pending()).id
        client.set_flow_run_state(run_id, state, force=True)
    assert is_over(str(run_id)) is over


def test_a_run_that_crashed_long_ago_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_runs, "CRASHED_FOR_SECONDS", 0)
    with get_client(sync_client=True) as client:
        run_id = client.create_flow_run(nothing, state=Crashed()).id
    assert is_over(str(run_id))


def test_a_run_that_was_deleted_is_over_and_one_that_is_not_prefects_is_not() -> None:
    assert is_over(str(uuid4()))
    assert not is_over("r1")
