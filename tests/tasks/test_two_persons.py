"""The two-person rule: two different persons, for the same, each by a signature."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.deciding import decide
from tasks.decisions import approvals, pending_gates
from tasks.env import World
from tasks.gates import AnswerRefused, GateNotPending
from tasks.journal import Journal
from tests.tasks.signed_gate import (
    AtOnce,
    GaveUp,
    open_gate,
    passed,
    reopen,
    signed,
)
from tests.tasks.signing import Person


def test_two_persons_pass_and_the_first_alone_does_not(
    two: World, journal: Journal, ann: Person, bob: Person
) -> None:
    pending = open_gate(two)
    assert decide(journal, "r1", "go", **signed(pending, ann)) is None
    (waiting,) = pending_gates(journal, "r1")
    assert waiting.approved_by == ("ann@example.org",)
    with pytest.raises(GaveUp):
        passed(two, lambda pending: None)
    reopen(journal, "r1")
    decision = passed(two, lambda pending: decide(journal, "r1", "go", **signed(pending, bob)))
    assert (decision.approver, decision.also_by) == ("bob@example.org", ("ann@example.org",))


def test_the_same_person_twice_is_refused_with_whatever_key(
    two: World, ann: Person, eve: Person, signers: Path
) -> None:
    journal = two.journal
    signers.write_text(signers.read_text() + eve.line(name=ann.name))
    pending = open_gate(two)
    assert decide(journal, "r1", "go", **signed(pending, ann)) is None
    for key in (ann, replace(eve, name=ann.name)):
        with pytest.raises(AnswerRefused, match="2 different persons, and ann@example.org has"):
            decide(journal, "r1", "go", **signed(pending, key))
    assert len(approvals(journal, "r1", "go")) == 1


def test_the_second_person_approves_the_same_or_rejects(
    two: World, journal: Journal, ann: Person, bob: Person
) -> None:
    pending = open_gate(two)
    assert decide(journal, "r1", "go", **signed(pending, ann, scope="one")) is None
    with pytest.raises(AnswerRefused, match="approve the same, or reject"):
        decide(journal, "r1", "go", **signed(pending, bob, scope="all"))
    no = signed(pending, bob, decision="reject")
    decision = decide(journal, "r1", "go", **no)
    assert decision is not None
    assert decision.decision == "reject"


def test_two_at_the_same_time_pass(two: World, journal: Journal, ann: Person, bob: Person) -> None:
    pending = open_gate(two)
    arguments = signed(pending, bob)
    with AtOnce(journal, lambda: decide(journal, "r1", "go", **signed(pending, ann))):
        decision = decide(journal, "r1", "go", **arguments)
    assert decision is not None
    assert decision.also_by == ("ann@example.org",)


def test_of_two_who_contradict_each_other_at_once_the_second_is_told(
    strict: World, journal: Journal, ann: Person, bob: Person
) -> None:
    pending = open_gate(strict)
    no = signed(pending, bob, decision="reject")
    yes = signed(pending, ann)
    with (
        AtOnce(journal, lambda: decide(journal, "r1", "go", **no)),
        pytest.raises(GateNotPending, match="already decided: reject by bob"),
    ):
        decide(journal, "r1", "go", **yes)
