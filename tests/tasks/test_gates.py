"""Gates on a real Prefect server: asked once, answered once, and never passed without an answer."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import SetStateStatus
from prefect.context import FlowRunContext
from prefect.exceptions import Abort, Pause
from prefect.settings import PREFECT_API_URL
from prefect.states import AwaitingRetry, Crashed, Failed, Running, Scheduled
from pydantic import Field

from tasks.env import SystemClock, World, use_world
from tasks.gates import (
    AnswerRefused,
    GateExpired,
    GateForm,
    GateNotPending,
    GateRejected,
    TargetForm,
    decide,
    expire_gates,
    gate,
    pending_gates,
    resume,
)
from tasks.journal import Journal, Kind, Phase
from tasks.runs import entered_run, recorded_run
from tests.tasks import gated_sample

SAMPLE = Path(gated_sample.__file__)
YES = {"decision": "approve", "approver": "Ann", "reason": "ticket 7"}
DESTROY = {**YES, "target": "h1:/dev/x"}
NO = {**YES, "decision": "reject", "reason": "too late"}


class ScopeForm(GateForm):
    scope: Literal["bad blocks only", "everything"] = "bad blocks only"
    count: int = Field(default=1, ge=1)


def asked(answers: list[dict[str, Any]]) -> Any:
    """Return an `ask` that gives these answers, one a question."""
    return lambda name, question: answers.pop(0)


def in_run() -> Any:
    return entered_run("rb", parameters={"cluster": "lab"}, run_id="r1")


def test_a_decision_is_kept_and_not_asked_again(small_world: World, journal: Journal) -> None:
    with use_world(replace(small_world, ask=asked([{**YES, "scope": "everything"}]))):
        with in_run():
            first = gate("write", evidence="# Sure?", risk="A2", form=ScopeForm)
        with in_run():
            again = gate("write", evidence="# Sure?", risk="A2", form=ScopeForm)
    assert first == again
    assert (first.approver, first.reason, first.fields["scope"]) == (
        "Ann",
        "ticket 7",
        "everything",
    )
    phases = [e.phase for e in journal.entries() if e.kind is Kind.GATE]
    assert phases == [Phase.INTENT, Phase.NOTE, Phase.DECISION]
    intent = journal.find("r1", Kind.GATE, "write", Phase.INTENT)
    assert intent is not None
    assert intent.payload["evidence"] == "# Sure?"


def test_a_rejection_ends_the_run_and_says_so(small_world: World, journal: Journal) -> None:
    with use_world(replace(small_world, ask=asked([NO]))):
        with pytest.raises(GateRejected, match="rejected by Ann: too late"), in_run():
            gate("write", evidence="", risk="A1")
        with pytest.raises(GateRejected), in_run():
            gate("write", evidence="", risk="A1")
    ended = [e.payload["as"] for e in journal.entries() if e.phase is Phase.ENDED]
    assert ended == ["rejected", "rejected"]


@pytest.mark.parametrize(
    "bad",
    [
        {**DESTROY, "target": "h2:/dev/x"},
        {**DESTROY, "target": ""},
        YES,
        {**DESTROY, "approver": ""},
        {**DESTROY, "reason": "x"},
        {**DESTROY, "decision": "yes"},
        {**DESTROY, "more": 1},
        {},
    ],
)
def test_an_answer_that_does_not_fit_is_asked_again(
    small_world: World, journal: Journal, bad: dict[str, Any]
) -> None:
    with use_world(replace(small_world, ask=asked([bad, DESTROY]))), in_run():
        gate("write", evidence="", risk="A3", form=TargetForm, target="h1:/dev/x")
    notes = [e.payload["what"] for e in journal.entries() if e.phase is Phase.NOTE]
    assert notes == ["asked", "refused", "asked"]


def test_a_gate_that_is_never_answered_well_expires(small_world: World) -> None:
    with (
        use_world(replace(small_world, ask=asked([{}] * 99))),
        pytest.raises(GateExpired),
        in_run(),
    ):
        gate("write", evidence="", risk="A1")


def test_an_a3_gate_without_a_target_is_a_mistake(small_world: World) -> None:
    with in_run():
        with pytest.raises(ValueError, match="A3 needs a target"):
            gate("write", evidence="", risk="A3", form=TargetForm)
        with pytest.raises(ValueError, match="A3 needs a target"):
            gate("write", evidence="", risk="A3", target="x")


def test_no_deciding_field_has_a_default() -> None:
    for form in (GateForm, TargetForm, ScopeForm):
        required = set(form.model_json_schema()["required"])
        assert {"decision", "approver", "reason"} <= required
    assert "target" in TargetForm.model_json_schema()["required"]


# On a real server.


@dataclass
class Served:
    """A flow run of a deployment, its attempts executed by processes of ours."""

    run_id: str
    home: Path

    @property
    def journal(self) -> Journal:
        return Journal(f"sqlite:///{self.home / 'journal.db'}")

    def attempt(self, gate_expires_seconds: int = 600) -> str:
        """Execute the run as a runner would, until it ends or is suspended; say which."""
        try:
            gated_sample.attempt(self.run_id, self.home, gate_expires_seconds)
        except Pause:
            return "suspended"
        except (GateRejected, GateExpired) as refused:
            return str(refused)
        return "completed"

    def killed_attempt(self) -> int:
        """Execute the run in a process that is killed with an answer read and not recorded."""
        env = {"PREFECT_API_URL": PREFECT_API_URL.value(), "PYTHONPATH": str(SAMPLE.parents[2])}
        return subprocess.run(
            [sys.executable, SAMPLE, self.run_id, self.home],
            env={**os.environ, **env},
            capture_output=True,
            check=False,
            timeout=120,
        ).returncode

    @property
    def state(self) -> str:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(self.run_id)).state
        assert state is not None
        return str(state.name)

    def answer(self, fields: Mapping[str, Any] | None) -> SetStateStatus:
        """Answer as the UI does."""
        with get_client(sync_client=True) as client:
            given = None if fields is None else dict(fields)
            return client.resume_flow_run(UUID(self.run_id), run_input=given).status

    def force(self, *states: Any) -> None:
        with get_client(sync_client=True) as client:
            for state in states:
                client.set_flow_run_state(UUID(self.run_id), state)

    def wrote(self) -> list[str]:
        return (self.home / "log").read_text().splitlines()

    def inputs(self) -> dict[str, Any]:
        with get_client(sync_client=True) as client:
            rows = client.filter_flow_run_input(UUID(self.run_id), "", limit=50, exclude_keys=set())
        return {row.key: json.loads(row.value) for row in rows}


@pytest.fixture
def served(prefect: None, tmp_path: Path) -> Served:
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("gated")
        deployment_id = client.create_deployment(flow_id, name=tmp_path.name)
        run = client.create_flow_run_from_deployment(
            deployment_id, parameters={"cluster": "lab", "log": str(tmp_path / "log")}
        )
    return Served(str(run.id), tmp_path)


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


DESTROY_BY_COMMAND = {
    "decision": "approve",
    "approver": "Bob",
    "reason": "ticket 7",
    "via": "command line",
    "fields": {"target": "h1:/dev/x"},
}


@flow(name="paused")
@recorded_run("paused")
def paused(cluster: str) -> str:
    return gate("go", evidence="Go?", risk="A1").approver


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
class TestPaused:
    def test_without_a_deployment_it_waits_in_place(self, small_world: World) -> None:
        with use_world(replace(small_world, clock=SystemClock())):
            answering = threading.Thread(target=self.answer, args=(small_world.journal, YES))
            answering.start()
            assert paused("lab") == "Ann"
            answering.join()

    def test_a_forced_run_is_asked_again(self, small_world: World) -> None:
        def force_then_answer() -> None:
            run_id = self.waiting(small_world.journal)
            with get_client(sync_client=True) as client:
                while not client.read_flow_run(UUID(run_id)).state.is_paused():
                    time.sleep(0.1)
                client.set_flow_run_state(UUID(run_id), Running())
                while not client.read_flow_run(UUID(run_id)).state.is_paused():
                    time.sleep(0.1)
            resume(run_id, YES)

        with use_world(replace(small_world, clock=SystemClock())):
            forcing = threading.Thread(target=force_then_answer)
            forcing.start()
            assert paused("lab") == "Ann"
            forcing.join()

    def test_it_expires_in_place(self, small_world: World, journal: Journal) -> None:
        quick = replace(small_world, clock=SystemClock(), gate_expires_seconds=2)
        with use_world(quick), pytest.raises(GateExpired):
            paused("lab")
        assert journal.entries()[-1].payload["as"] == "expired"

    @staticmethod
    def waiting(journal: Journal) -> str:
        while not pending_gates(journal):
            time.sleep(0.1)
        return pending_gates(journal)[0].run_id

    def answer(self, journal: Journal, fields: Mapping[str, Any]) -> None:
        resume(self.waiting(journal), fields)

    def test_a_superseded_process_leaves_without_telling_prefect(self, small_world: World) -> None:
        seen: list[UUID] = []

        @flow(name="superseded")
        @recorded_run("superseded")
        def superseded(cluster: str) -> None:
            context = FlowRunContext.get()
            assert context is not None
            assert context.flow_run is not None
            seen.append(context.flow_run.id)
            journal = small_world.journal
            journal.open_run(journal.runs()[0])
            gate("go", evidence="Go?", risk="A1")

        with pytest.raises(Abort):
            superseded("lab")
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(seen[0]).state
        assert state is not None
        assert state.name == "Running"
