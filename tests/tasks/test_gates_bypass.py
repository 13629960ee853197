"""Every way in which Prefect passes a gate, or forgets its answer: none does so here.

Prefect itself accepts a forced state on a suspended run, fills an empty resume with defaults,
wipes pause keys and answers on any retry out of a terminal state, and lets anyone who reaches
its API write and delete the rows that hold the answers.
"""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Pending,
    Running,
    Scheduled,
    State,
    Suspended,
)

from tasks.deciding import decide
from tasks.decisions import decision_of, pending_gates
from tasks.gates import GateNotPending, resume
from tasks.journal import Kind, Phase
from tests.tasks.served_run import Served, served_run

YES = {"decision": "approve", "approver": "Ann", "reason": "ticket 7"}
DESTROY = {**YES, "target": "h1:/dev/x"}

Way = Callable[[Served], None]


@pytest.fixture
def served(prefect: None, tmp_path: Path) -> Served:
    return served_run(tmp_path)


@pytest.fixture
def waiting(served: Served) -> Served:
    """Return a run that waits at its destructive gate."""
    assert served.attempt() == "suspended"
    return served


def forced(*states: State[Any]) -> Way:
    return lambda served: served.force(*states)


def answered(fields: dict[str, Any] | None, *, verdict: SetStateStatus) -> Way:
    def way(served: Served) -> None:
        assert served.answer(fields) is verdict

    return way


def row_deleted(name: str) -> Way:
    def way(served: Served) -> None:
        with get_client(sync_client=True) as client:
            client.delete_flow_run_input(UUID(served.run_id), f"suspended-destroy-1-{name}")
        # Without its form the run is resumed by anything.
        served.answer(DESTROY if name == "schema" else None)
        if served.state == "Suspended":
            served.force(Scheduled())

    return way


def row_planted(fields: dict[str, Any]) -> Way:
    """Return the way of one who writes an answer into Prefect's store, past its form."""

    def way(served: Served) -> None:
        with get_client(sync_client=True) as client:
            write(client, served, "suspended-destroy-1-response", fields)
        served.force(Scheduled())

    return way


def write(client: SyncPrefectClient, served: Served, key: str, fields: dict[str, Any]) -> None:
    client.create_flow_run_input(UUID(served.run_id), key, json.dumps(fields))


def schema_loosened(served: Served) -> None:
    """Replace the stored form by one that has defaults, and resume with nothing."""
    with get_client(sync_client=True) as client:
        key = "suspended-destroy-1-schema"
        client.delete_flow_run_input(UUID(served.run_id), key)
        write(client, served, key, {"type": "object", "properties": {}})
    assert served.answer({}) is SetStateStatus.ACCEPT


WAYS: dict[str, Way] = {
    "set_state SCHEDULED": forced(Scheduled()),
    "set_state PENDING, RUNNING": forced(Pending(), Running()),
    "set_state RUNNING": forced(Running()),
    "set_state SUSPENDED again": forced(Suspended(), Scheduled()),
    "set_state COMPLETED, then a retry": forced(Completed(), AwaitingRetry()),
    "set_state FAILED, then a retry": forced(Failed(), AwaitingRetry()),
    "CRASHED, then the requeue": forced(Crashed(), AwaitingRetry()),
    "CANCELLED, then a retry": forced(Cancelled(), AwaitingRetry()),
    "resume without input": lambda served: (
        answered(None, verdict=SetStateStatus.REJECT)(served),
        served.force(Scheduled()),
    )[-1],
    "resume with an empty form": lambda served: (
        answered({}, verdict=SetStateStatus.REJECT)(served),
        served.force(Scheduled()),
    )[-1],
    "resume without the target": lambda served: (
        answered(YES, verdict=SetStateStatus.REJECT)(served),
        served.force(Scheduled()),
    )[-1],
    "resume with another target": answered(
        {**DESTROY, "target": "h2:/dev/x"}, verdict=SetStateStatus.ACCEPT
    ),
    "the form's row deleted": row_deleted("schema"),
    "the text's row deleted": row_deleted("description"),
    "the form replaced by one with defaults": schema_loosened,
    "an answer planted without a name": row_planted({**DESTROY, "approver": ""}),
    "an answer planted without the target": row_planted(YES),
    "an answer planted that says more": row_planted({**DESTROY, "verified": True}),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_nothing_but_an_answer_that_fits_passes(waiting: Served, way: str) -> None:
    WAYS[way](waiting)
    waiting.attempt()
    assert waiting.wrote() == ["before"]
    assert decision_of(waiting.journal, waiting.run_id, "destroy") is None
    assert waiting.state == "Suspended"
    assert [gate.gate for gate in pending_gates(waiting.journal)] == ["destroy"]
    # And it is not a dead end: the gate can still be answered.
    assert waiting.answer(DESTROY) is SetStateStatus.ACCEPT
    waiting.attempt()
    assert waiting.wrote() == ["before", "destroy, said Ann"]


@pytest.mark.slow
def test_a_run_forced_to_its_end_passes_nothing_and_its_gate_is_closed(waiting: Served) -> None:
    waiting.force(Completed())
    assert waiting.wrote() == ["before"]
    assert decision_of(waiting.journal, waiting.run_id, "destroy") is None
    assert waiting.answer(DESTROY) is not SetStateStatus.ACCEPT


def answers_deleted(served: Served) -> None:
    """Delete all that Prefect keeps of the run's gates."""
    with get_client(sync_client=True) as client:
        for key in served.inputs():
            client.delete_flow_run_input(UUID(served.run_id), key)


LOSSES: dict[str, Way] = {
    "a retry out of FAILED": forced(Failed(), AwaitingRetry()),
    "a retry out of COMPLETED": forced(Completed(), AwaitingRetry()),
    "the requeue after CRASHED": forced(Crashed(), AwaitingRetry()),
    "a retry out of CANCELLED": forced(Cancelled(), AwaitingRetry()),
    "set_state SCHEDULED": forced(Scheduled()),
    "set_state RUNNING": forced(Running()),
    "all rows deleted": lambda served: (answers_deleted(served), served.force(Scheduled()))[-1],
    "another answer after it": answered(
        {**DESTROY, "decision": "reject"}, verdict=SetStateStatus.ACCEPT
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_a_decision_is_not_lost(waiting: Served, loss: str) -> None:
    decided(waiting)
    LOSSES[loss](waiting)
    assert waiting.attempt() == "suspended"  # at the next gate
    assert waiting.wrote() == ["before", "destroy, said Bob"]
    assert [gate.gate for gate in pending_gates(waiting.journal)] == ["leave"]
    decisions = [e for e in waiting.journal.entries() if e.phase is Phase.DECISION]
    assert [(e.step, e.actor) for e in decisions] == [("destroy", "Bob")]


def decided(served: Served, **more: Any) -> None:
    answer = {**YES, "approver": "Bob", "via": "command", "fields": {"target": "h1:/dev/x"}}
    decide(served.journal, served.run_id, "destroy", **{**answer, **more})


@pytest.mark.slow
def test_of_two_resumes_at_once_one_counts(waiting: Served) -> None:
    verdicts: list[SetStateStatus] = []
    answers = [DESTROY, {**DESTROY, "approver": "Bob"}]
    threads = [
        threading.Thread(target=lambda form=form: verdicts.append(waiting.answer(form)))
        for form in answers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts.count(SetStateStatus.ACCEPT) >= 1
    waiting.attempt()
    (decision,) = [
        e for e in waiting.journal.entries(kinds=(Kind.GATE,)) if e.phase is Phase.DECISION
    ]
    assert waiting.wrote() == ["before", f"destroy, said {decision.actor}"]


@pytest.mark.slow
def test_of_a_command_and_the_ui_at_once_the_first_counts(waiting: Served) -> None:
    assert waiting.answer({**DESTROY, "decision": "reject"}) is SetStateStatus.ACCEPT
    decided(waiting)  # before the run has read the UI's answer
    assert waiting.attempt() == "suspended"
    assert waiting.wrote() == ["before", "destroy, said Bob"]
    with pytest.raises(GateNotPending, match="already decided: approve by Bob"):
        decided(waiting, decision="reject")


@pytest.mark.slow
def test_an_answer_for_an_earlier_ask_does_not_pass_a_later_gate(waiting: Served) -> None:
    waiting.answer(DESTROY)
    assert waiting.attempt() == "suspended"
    with get_client(sync_client=True) as client:
        write(client, waiting, "suspended-leave-7-response", YES)
    waiting.force(Scheduled())
    waiting.attempt()
    assert waiting.wrote() == ["before", "destroy, said Ann"]
    resume(waiting.run_id, YES)
    assert waiting.attempt() == "completed"
