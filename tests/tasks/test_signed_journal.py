"""Approvals altered or planted in the journal pass no gate whose policy asks for signatures."""

import re
from pathlib import Path
from typing import Any

import pytest

from tasks.audit_approvals import approval_faults
from tasks.deciding import decide
from tasks.decisions import approvals
from tasks.env import World
from tasks.gates import ApprovalNotProven
from tasks.journal import Draft, Journal, Kind, Phase
from tasks.policy import Rules
from tests.tasks.signed_gate import (
    alter,
    form_of,
    open_gate,
    passed,
    said,
    signed,
    under,
)
from tests.tasks.signing import Person, now


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("actor", "bob@example.org"), "over this very decision"),
        (("payload", ("ticket 7", "ticket 9")), "over this very decision"),
        (("payload", ("one", "all")), "over this very decision"),
        (("signature", None), "marked as verified and has no signature"),
        (("payload", ("SHA256:", "SHA256:x")), "recorded SHA256:x"),
    ],
)
def test_a_decision_altered_in_the_journal_does_not_pass(
    strict: World, tmp_path: Path, ann: Person, change: tuple[str, Any], says: str
) -> None:
    journal = strict.journal
    passed(strict, lambda p: decide(journal, "r1", "go", **signed(p, ann, scope="one")))
    assert strict.policy
    signers = strict.policy.signers
    assert not list(approval_faults(journal, signers))
    alter(tmp_path / "journal.db", *change, "phase = 'decision'")
    (fault,) = approval_faults(journal, signers)
    assert re.search(says, fault.what)
    with pytest.raises(ApprovalNotProven, match=says):
        passed(strict, lambda pending: pytest.fail("asked again"))


def test_evidence_altered_in_the_journal_does_not_pass(
    strict: World, journal: Journal, tmp_path: Path, ann: Person
) -> None:
    passed(strict, lambda pending: decide(journal, "r1", "go", **signed(pending, ann)))
    alter(tmp_path / "journal.db", "payload", ("Go?", "Look?"), "phase = 'intent'")
    with pytest.raises(ApprovalNotProven, match="over this very decision"):
        passed(strict, lambda pending: pytest.fail("asked again"))


def test_a_decision_planted_in_the_journal_does_not_pass(
    strict: World, journal: Journal, ann: Person
) -> None:
    open_gate(strict)
    planted = {
        "decision": "approve",
        "reason": "planted",
        "fields": {},
        "answered_at": now(),
        "verified": False,
    }
    draft = Draft("r1", Kind.GATE, "go", Phase.DECISION, actor=ann.name, payload=planted)
    journal.append(draft)
    with pytest.raises(ApprovalNotProven, match="not signed, and the policy asks for that"):
        passed(strict, lambda pending: pytest.fail("asked again"))


def test_without_a_policy_a_typed_name_passes_and_a_broken_signature_does_not(
    real_time: World, journal: Journal, tmp_path: Path, ann: Person, signers: Path
) -> None:
    opened = under(real_time, Rules(), signers)
    decision = passed(opened, lambda p: decide(journal, "r1", "go", **said(form_of(ann), None)))
    assert not decision.verified
    passed(opened, lambda p: decide(journal, "r2", "go", **signed(p, ann)), "r2")
    alter(tmp_path / "journal.db", "signature", "x", "phase = 'decision' AND run_id = 'r2'")
    with pytest.raises(ApprovalNotProven):
        passed(opened, lambda pending: pytest.fail("asked again"), "r2")


def test_an_approval_planted_as_the_first_of_two_does_not_count(
    two: World, journal: Journal, ann: Person, bob: Person
) -> None:
    pending = open_gate(two)
    planted = {
        "what": "approved",
        "decision": "approve",
        "reason": "planted",
        "fields": {},
        "answered_at": now(),
        "verified": True,
        "key": ann.signer.fingerprint,
    }
    journal.append(
        Draft("r1", Kind.GATE, "go", Phase.NOTE, actor=ann.name, payload=planted, signature="x")
    )
    assert decide(journal, "r1", "go", **signed(pending, bob)) is None


def test_one_signed_approval_planted_as_the_decision_of_two_does_not_pass(
    two: World, journal: Journal, ann: Person
) -> None:
    pending = open_gate(two)
    arguments = signed(pending, ann)
    assert decide(journal, "r1", "go", **arguments) is None
    (first,) = approvals(journal, "r1", "go")
    journal.append(
        Draft(
            *("r1", Kind.GATE, "go", Phase.DECISION),
            actor=ann.name,
            payload=dict(first.payload),
            signature=first.signature,
        )
    )
    with pytest.raises(ApprovalNotProven, match="takes 2 different persons and has"):
        passed(two, lambda pending: pytest.fail("asked again"))
