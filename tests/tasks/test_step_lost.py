"""A remote step that is lost: a person says what follows, once, and it is recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow

from tasks.env import SystemClock, World, use_world, world
from tasks.gates import GateExpired, GateRejected, decide, pending_gates
from tasks.journal import Journal, Kind, Phase
from tasks.runs import entered_run
from tasks.step_lost import END, through_losses
from tasks.step_remote import Step, start
from tasks.steps import AGAIN, IT_WAS_DONE, StepLost, run_once
from tests.tasks.lost_sample import DIES_AT_FIRST, act, go_on, lose_and_go_on
from tests.tasks.step_helpers import pid_of, wait_dead

GATE = "lost_act_h1_1"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass
class Person:
    """Answers one gate after the other; keeps what was shown."""

    says: list[str]
    shown: list[tuple[str, str]] = field(default_factory=list)
    typed: dict[str, str] = field(default_factory=dict)

    def __call__(self, gate: str, question: Mapping[str, Any]) -> Mapping[str, Any]:
        self.shown.append((gate, question["evidence"]))
        said = self.says.pop(0)
        answer = {"decision": "approve", "approver": "Ann", "reason": "looked at it", **self.typed}
        return (
            {**answer, "outcome": END, "decision": "reject"}
            if said == "no"
            else {**answer, "outcome": said}
        )


@pytest.fixture
def count(tmp_path: Path) -> Path:
    return tmp_path / "count"


def in_run(put: World, person: Person | None, count: Path) -> None:
    with (
        use_world(replace(put, ask=person)),
        entered_run("lost", parameters={"cluster": "lab"}, run_id="r1"),
    ):
        act("lab", "h1", str(count))
        go_on("lab", str(count))


def remote(journal: Journal) -> list[tuple[Phase, Any]]:
    return [
        (entry.phase, entry.payload.get("how"))
        for entry in journal.entries("r1", kinds=(Kind.REMOTE,))
    ]


def test_where_nobody_can_be_asked_it_is_raised(real_time: World, count: Path) -> None:
    for _ in range(2):
        with pytest.raises(StepLost, match="it is not run again"):
            in_run(real_time, None, count)
    assert count.read_text() == "x\n"


def test_what_was_done_is_not_done_again(real_time: World, journal: Journal, count: Path) -> None:
    person = Person([IT_WAS_DONE])
    in_run(real_time, person, count)
    assert count.read_text() == "x\nwent on\n"
    assert remote(journal)[-1] == (Phase.OUTCOME, "done, says Ann")
    [(gate, evidence)] = person.shown
    assert gate == GATE
    argv = f"argv: sh -c {DIES_AT_FIRST} _ {count}".replace("\n", " ")
    for wanted in ("**h1**", "working", argv, BOOT_ID.read_text().strip(), "it does not run"):
        assert wanted in evidence


def test_it_is_run_again_if_a_person_says_so(real_time: World, journal, count: Path) -> None:
    in_run(real_time, Person([AGAIN]), count)
    assert count.read_text() == "x\nx\nwent on\n"
    assert remote(journal)[-1] == (Phase.OUTCOME, "started")
    ids = [e.payload["step_id"] for e in journal.entries("r1") if "step_id" in e.payload]
    assert ids == ["r1.act", "r1.act+2"]


@pytest.mark.parametrize(("said", "error"), [(END, StepLost), ("no", GateRejected)])
def test_the_run_ends_if_a_person_says_so(
    real_time: World, journal: Journal, count: Path, said: str, error: type[Exception]
) -> None:
    for person in (Person([said]), Person([])):
        with pytest.raises(error):
            in_run(real_time, person, count)
    assert count.read_text() == "x\n"
    assert [e.phase for e in journal.entries("r1") if e.kind is Kind.RUN][-1] is Phase.ENDED


class Killed(BaseException):
    """Stands for kill -9 of the control node."""


def die(*_args: object) -> None:
    raise Killed


def first_only(this: Step) -> str:
    return start(this) if this.number == 1 else str(die())


@pytest.mark.parametrize("said", [IT_WAS_DONE, AGAIN])
def test_a_run_that_dies_after_the_decision_does_not_ask_again(
    real_time: World, count: Path, said: str
) -> None:
    person = Person([said])
    with (
        mock.patch("tasks.step_lost.record_as_done", die),
        mock.patch("tasks.steps.start", first_only),
        pytest.raises(Killed),
    ):
        in_run(real_time, person, count)
    in_run(real_time, person, count)
    assert [gate for gate, _ in person.shown] == [GATE]
    assert count.read_text() == ("x\nx\nwent on\n" if said == AGAIN else "x\nwent on\n")


OTHER_BOOT = "11111111-2222-3333-4444-555555555555"


def power_loss(folder: Path) -> None:
    """Make a step look as one whose host went down while it ran."""
    wait_dead(int((folder / "pid").read_text().split()[0]))
    (folder / "rc").unlink()
    pid, began, _ = (folder / "pid").read_text().split()
    (folder / "pid").write_text(f"{pid} {began} {OTHER_BOOT}\n")


def test_a_host_that_rebooted_in_the_middle_is_noticed(
    real_time: World, tmp_path: Path, count: Path
) -> None:
    count.write_text("x\n")  # so that it ends by itself
    with mock.patch("tasks.steps.wait", die), pytest.raises(Killed):
        in_run(real_time, Person([]), count)
    pid_of(tmp_path / "steps", "act", "r1")
    power_loss(tmp_path / "steps" / "r1.act")
    person = Person([IT_WAS_DONE])
    in_run(real_time, person, count)
    assert count.read_text() == "x\nx\nwent on\n"
    assert OTHER_BOOT in person.shown[0][1]


def attempt(run_id: str, put: World) -> str:
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(run_id))
    with use_world(put):
        try:
            run_flow(lose_and_go_on, flow_run=flow_run, parameters=flow_run.parameters)
        except Pause:
            return "suspended"
    return "completed"


@pytest.mark.slow
def test_in_prefect_the_run_is_suspended_and_asks(
    prefect: None, real_time: World, journal: Journal, count: Path, tmp_path: Path
) -> None:
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("lost")
        deployment_id = client.create_deployment(flow_id, name=tmp_path.name)
        created = client.create_flow_run_from_deployment(
            deployment_id, parameters={"cluster": "lab", "count": str(count)}
        )
    run_id = str(created.id)
    put = replace(real_time, clock=SystemClock())
    assert attempt(run_id, put) == "suspended"
    assert [gate.gate for gate in pending_gates(journal, run_id)] == [GATE]
    decide(
        *(journal, run_id, GATE),
        decision="approve",
        approver="Bob",
        reason="looked",
        via="command line",
        fields={"outcome": AGAIN},
    )
    with get_client(sync_client=True) as client:
        fields = {"decision": "approve", "approver": "Bob", "reason": "looked", "outcome": AGAIN}
        client.resume_flow_run(UUID(run_id), run_input=fields)
    assert attempt(run_id, put) == "completed"
    assert count.read_text() == "x\nx\nwent on\n"


def lost_in(put: World, person: Person, runbook: str, step: str, count: Path) -> None:
    def dies() -> str:
        script = ["sh", "-c", DIES_AT_FIRST, "_", str(count)]
        return run_once(world().shell("lab", "h1"), script, step=step, timeout_seconds=20).how

    with (
        use_world(replace(put, ask=person)),
        entered_run(runbook, parameters={"cluster": "lab"}, run_id="r1"),
    ):
        through_losses(dies)


@pytest.mark.parametrize(
    ("runbook", "risk"), [("metadata-too-new", "A3"), ("upgrade", "A2"), ("engine-console", "A2")]
)
def test_the_gate_has_the_risk_of_its_run(
    real_time: World, journal: Journal, count: Path, runbook: str, risk: str
) -> None:
    person = Person([IT_WAS_DONE], typed={"target": "lab"} if risk == "A3" else {})
    lost_in(real_time, person, runbook, "act", count)
    asked = journal.find("r1", Kind.GATE, GATE, Phase.INTENT)
    assert asked is not None
    assert asked.payload["risk"] == risk
    assert ("type the name of the cluster: `lab`" in person.shown[0][1]) == (risk == "A3")


def test_without_the_target_nothing_is_decided(
    real_time: World, journal: Journal, count: Path
) -> None:
    person = Person([AGAIN] * 30, typed={"target": "lba"})
    with pytest.raises((GateExpired, GateRejected)):
        lost_in(real_time, person, "metadata-too-new", "act", count)
    assert count.read_text() == "x\n"


@pytest.mark.parametrize("step", ["write_zeros", "initialise_lockspace", "remove_storage_domain"])
def test_what_cannot_be_repeated_is_said(real_time: World, count: Path, step: str) -> None:
    person = Person([IT_WAS_DONE], typed={"target": "lab"})
    lost_in(real_time, person, "metadata-too-new", step, count)
    assert "writes nothing if any of it has been written already" in person.shown[0][1]
    assert "only if it may be done twice" not in person.shown[0][1]
