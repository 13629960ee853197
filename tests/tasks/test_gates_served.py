"""Gates of served runs on a real Prefect server: suspended, answered, killed, expired."""

import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import AwaitingRetry, Crashed, Failed, Running, Scheduled

from tasks.env import use_world
from tasks.gates import (
    AnswerRefused,
    GateNotPending,
    decide,
    expire_gates,
    pending_gates,
    resume,
)
from tasks.journal import Phase
from tests.tasks import gated_sample
from tests.tasks.served_run import Served, served_run

YES = {"decision": "approve", "approver": "Ann", "reason": "ticket 7"}
DESTROY = {**YES, "target": "h1:/dev/x"}
NO = {**YES, "decision": "reject", "reason": "too late"}


DESTROY_BY_COMMAND = {
    "decision": "approve",
    "approver": "Bob",
    "reason": "ticket 7",
    "via": "command line",
    "fields": {"target": "h1:/dev/x"},
}


@pytest.fixture
def served(prefect: None, tmp_path: Path) -> Served:
    return served_run(tmp_path)


@pytest.mark.slow
class TestServed:
    def test_the_whole_way_with_ui_and_command_line(self, served: Served) -> None:
        assert served.attempt() == "suspended"
        assert served.state == "Suspended"
        pending = pending_gates(served.journal)
        assert [(g.gate, g.risk, g.target) for g in pending] == [("destroy", "A3", "h1:/dev/x")]
        shown = served.inputs()
        assert shown["suspended-destroy-1-description"] == pending[0].evidence
        properties = shown["suspended-destroy-1-schema"]["properties"]
        assert list(properties) == ["decision", "approver", "reason", "target"]

        assert served.answer(None) is SetStateStatus.REJECT
        assert served.answer({**DESTROY, "approver": ""}) is SetStateStatus.REJECT
        assert served.answer(DESTROY) is SetStateStatus.ACCEPT
        assert served.attempt() == "suspended"
        assert served.wrote() == ["before", "destroy, said Ann"]

        with pytest.raises(AnswerRefused, match="too short"):
            self.decided(served, approver="")
        self.decided(served)
        self.decided(served)  # once more, as by a command that did not live to resume
        resume(served.run_id, YES)
        assert served.attempt() == "completed"
        assert served.state == "Completed"
        assert served.wrote() == ["before", "destroy, said Ann", "after"]
        decisions = [e for e in served.journal.entries() if e.phase is Phase.DECISION]
        assert [(e.step, e.actor, e.via) for e in decisions] == [
            ("destroy", "Ann", "prefect"),
            ("leave", "Bob", "command line"),
        ]

    @staticmethod
    def decided(served: Served, approver: str = "Bob") -> None:
        answer = {**YES, "approver": approver, "via": "command line"}
        decide(served.journal, served.run_id, "leave", **answer)

    @pytest.mark.parametrize("state", [Scheduled(), Running()])
    def test_a_forced_state_does_not_pass(self, served: Served, state: Any) -> None:
        served.attempt()
        served.force(state)
        served.attempt()
        assert served.state == "Suspended"
        assert served.wrote() == ["before"]
        assert served.answer(DESTROY) is SetStateStatus.ACCEPT
        served.attempt()
        assert served.wrote() == ["before", "destroy, said Ann"]

    def test_a_wrongly_typed_target_does_not_pass(self, served: Served) -> None:
        served.attempt()
        assert served.answer({**DESTROY, "target": "h2:/dev/x"}) is SetStateStatus.ACCEPT
        served.attempt()
        assert served.state == "Suspended"
        assert served.wrote() == ["before"]
        served.answer(DESTROY)
        served.attempt()
        assert served.wrote() == ["before", "destroy, said Ann"]

    def test_an_answer_is_found_again_after_a_kill_and_wiped_pause_keys(
        self, served: Served
    ) -> None:
        served.attempt()
        served.answer(DESTROY)
        assert served.killed_attempt() == -9
        assert served.wrote() == ["before"]
        assert [g.gate for g in pending_gates(served.journal)] == ["destroy"]
        served.force(Crashed(), AwaitingRetry())
        with get_client(sync_client=True) as client:
            policy = client.read_flow_run(UUID(served.run_id)).empirical_policy
        assert policy.pause_keys == set()
        served.attempt()
        assert served.wrote() == ["before", "destroy, said Ann"]
        assert [g.gate for g in pending_gates(served.journal)] == ["leave"]

    def test_a_gate_suspended_through_a_retry_is_asked_again_and_works(
        self, served: Served
    ) -> None:
        served.attempt()
        served.force(Failed(), AwaitingRetry())
        served.attempt()
        assert served.state == "Suspended"
        assert served.answer(DESTROY) is SetStateStatus.ACCEPT
        served.attempt()
        assert served.wrote() == ["before", "destroy, said Ann"]

    def test_a_rejection_fails_the_run_and_frees_the_cluster(self, served: Served) -> None:
        served.attempt()
        served.answer({**DESTROY, "decision": "reject", "reason": "too late"})
        assert served.attempt() == "gate `destroy` was rejected by Ann: too late"
        assert served.state == "Failed"
        assert served.wrote() == ["before"]

    def test_expiry_is_recorded_and_the_run_is_woken_to_end(self, served: Served) -> None:
        served.attempt(gate_expires_seconds=1)
        time.sleep(1.1)
        with pytest.raises(GateNotPending, match="expired at"):
            decide(served.journal, served.run_id, "destroy", **DESTROY_BY_COMMAND)
        with use_world(gated_sample.world_of(served.home, 1)):
            assert [late.gate for late in expire_gates()] == ["destroy"]
            assert expire_gates() == []  # the run is on its way
        assert served.state == "Resuming"
        assert "gate `destroy` expired: no decision by" in served.attempt()
        assert served.state == "Failed"
        ended = [e.payload["as"] for e in served.journal.entries() if e.phase is Phase.ENDED]
        assert ended == ["expired"]

    def test_an_answer_that_comes_too_late_does_not_pass(self, served: Served) -> None:
        served.attempt(gate_expires_seconds=1)
        time.sleep(1.1)
        assert served.answer(DESTROY) is SetStateStatus.ACCEPT
        served.attempt()
        assert served.state == "Failed"
        assert served.wrote() == ["before"]
