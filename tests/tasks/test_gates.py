"""Gates: decided once, kept in the journal, passed by nothing but an answer that fits."""

from dataclasses import replace
from typing import Any, Literal

import pytest
from pydantic import Field

from tasks.env import World, use_world
from tasks.gates import (
    GateExpired,
    GateForm,
    GateRejected,
    TargetForm,
    gate,
    pending_gates,
)
from tasks.journal import Journal, Kind, Phase
from tasks.runs import entered_run

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
    assert intent.payload["evidence"].endswith(
        "one approval is enough and a typed name counts, unverified.*\n\n# Sure?"
    )


def test_a_gate_of_a_run_that_had_ended_and_is_retried_waits_again(
    small_world: World, journal: Journal
) -> None:
    def dies(name: str, question: object) -> dict[str, Any]:
        raise RuntimeError("its state was forced to Failed")

    seen: list[list[str]] = []

    def answers(name: str, question: object) -> dict[str, Any]:
        seen.append([pending.gate for pending in pending_gates(journal)])
        return YES

    with use_world(replace(small_world, ask=dies)), pytest.raises(RuntimeError), in_run():
        gate("write", evidence="", risk="A1")
    assert pending_gates(journal) == []
    with use_world(replace(small_world, ask=answers)), in_run():
        gate("write", evidence="", risk="A1")
    assert seen == [["write"]]
    assert pending_gates(journal) == []


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


def test_too_many_bad_answers_end_it_with_a_true_word(small_world: World) -> None:
    answers = [{**YES, "approver": ""} for _ in range(30)]
    told = r"gate `write` expired: asked 20 times, and no answer counted"
    for _ in range(2):
        with (
            use_world(replace(small_world, ask=asked(answers))),
            in_run(),
            pytest.raises(GateExpired, match=told),
        ):
            gate("write", evidence="# Sure?", risk="A2")
    assert len(answers) == 10
