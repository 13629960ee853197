"""Signed approvals: what a signature is over, and what it does not hold for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.deciding import Signed, decide, statement_for
from tasks.env import World, use_world
from tasks.gates import AnswerRefused, GateNotPending, gate
from tasks.journal import Journal, Kind, Phase
from tasks.runs import entered_run
from tasks.signatures import asked_sha256, verify_decision
from tests.tasks.signed_gate import (
    entries_of,
    form_of,
    open_gate,
    passed,
    refused,
    said,
    signed,
)
from tests.tasks.signing import Person, now


def test_a_signed_approval_passes_and_names_its_key(
    strict: World, journal: Journal, ann: Person, signers: Path
) -> None:
    decision = passed(
        strict, lambda pending: decide(journal, "r1", "go", **signed(pending, ann, scope="all"))
    )
    assert (decision.approver, decision.verified) == ("ann@example.org", True)
    assert decision.key == ann.signer.fingerprint
    assert decision.via == "command, signed"
    assert decision.fields == {"scope": "all"}
    entry, intent = entries_of(journal)
    assert verify_decision(entry, intent, signers) is None
    again = passed(strict, lambda pending: pytest.fail("asked again"))
    assert again == decision


def test_an_approval_for_another_run_is_refused(strict: World, ann: Person) -> None:
    other, pending = open_gate(strict, "r2"), open_gate(strict)
    refused(strict, pending, "not ann@example.org's over this very", **signed(other, ann))


def test_an_approval_for_another_gate_is_refused(strict: World, ann: Person) -> None:
    pending = open_gate(strict)
    other = replace(pending, gate="stop")
    refused(strict, pending, "over this very decision", **signed(other, ann))


@pytest.mark.parametrize(
    "part", ["evidence", "risk", "target", "form_schema", "expires_at", "rules", "signers"]
)
def test_an_approval_for_other_evidence_or_form_is_refused(
    strict: World, journal: Journal, ann: Person, part: str
) -> None:
    pending = open_gate(strict)
    intent = journal.find("r1", Kind.GATE, "go", Phase.INTENT)
    assert intent is not None
    assert part in intent.payload
    other = replace(intent, payload={**intent.payload, part: "other"})
    shown = replace(pending, asked_sha256=asked_sha256(other))
    refused(strict, pending, "over this very decision", **signed(shown, ann))


def test_an_approval_by_an_unknown_key_is_refused(strict: World, ann: Person, eve: Person) -> None:
    pending = open_gate(strict)
    refused(strict, pending, "is nobody of", **signed(pending, eve))
    as_ann = replace(eve, name=ann.name)
    refused(strict, pending, "not ann@example.org's over this very", **signed(pending, as_ann))


def test_an_approval_by_one_in_the_name_of_another_is_refused(
    strict: World, ann: Person, bob: Person
) -> None:
    pending = open_gate(strict)
    refused(strict, pending, "over this very", **signed(pending, replace(bob, name=ann.name)))


@pytest.mark.parametrize(
    "change",
    [
        {"approver": "bob@example.org"},
        {"reason": "ticket 8"},
        {"scope": "all"},
        {"decision": "reject"},
    ],
)
def test_an_approval_that_is_altered_on_its_way_is_refused(
    strict: World, ann: Person, change: dict[str, str]
) -> None:
    pending = open_gate(strict)
    form = form_of(ann, scope="one")
    at = now()
    proof = Signed(at, ann.signs(statement_for(pending, form, at)))
    refused(strict, pending, "over this very decision", **said({**form, **change}, proof))
    later = (datetime.fromisoformat(at) + timedelta(seconds=1)).isoformat()
    refused(strict, pending, "over this very", **said(form, replace(proof, at=later)))
    refused(strict, pending, "over this very", **said(form, replace(proof, signature="x")))


def test_an_approval_replayed_after_expiry_is_refused(strict: World, ann: Person) -> None:
    pending = open_gate(strict, expires_seconds=1)
    kept = signed(pending, ann)
    while datetime.now(UTC) < pending.expires_at:
        strict.clock.sleep(0.1)
    with pytest.raises(GateNotPending, match="expired at"):
        decide(strict.journal, "r1", "go", **kept)


@pytest.mark.parametrize("minutes", [-9, 6, 60 * 25])
def test_an_approval_signed_at_another_time_is_refused(
    strict: World, ann: Person, minutes: int
) -> None:
    pending = open_gate(strict)
    at = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat(timespec="seconds")
    refused(strict, pending, "look at the clocks", **signed(pending, ann, at))


def test_an_approval_for_another_purpose_is_refused(
    strict: World, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = open_gate(strict)
    with monkeypatch.context() as patched:
        patched.setattr("tasks.signing.NAMESPACE", "git")
        as_for_git = signed(pending, ann)
    refused(strict, pending, "over this very decision", **as_for_git)


def test_a_key_whose_time_is_over_signs_no_more_and_its_old_decisions_stand(
    strict: World, journal: Journal, ann: Person, bob: Person, signers: Path
) -> None:
    passed(strict, lambda pending: decide(journal, "r1", "go", **signed(pending, ann)))
    soon = datetime.now(UTC) + timedelta(seconds=2)
    signers.write_text(ann.line(f'valid-before="{soon:%Y%m%d%H%M%S}Z"') + bob.line())
    while datetime.now(UTC) < soon + timedelta(seconds=1):
        strict.clock.sleep(0.1)
    entry, intent = entries_of(journal)
    assert verify_decision(entry, intent, signers) is None
    pending = open_gate(strict, "r2")
    with pytest.raises(AnswerRefused, match="over this very decision"):
        decide(journal, "r2", "go", **signed(pending, ann))


def test_a_typed_name_does_not_count_and_the_command_is_told(
    strict: World, journal: Journal, ann: Person
) -> None:
    pending = open_gate(strict, target=None)
    refused(strict, pending, r"runbook approve r1 --reason TEXT", **said(form_of(ann), None))
    shown: list[str] = []

    def ask(name: str, question: Any) -> dict[str, Any]:
        shown.append(question["evidence"])
        return form_of(ann, decision="approve" if len(shown) == 1 else "reject")

    with (
        use_world(replace(strict, ask=ask)),
        pytest.raises(Exception, match="was rejected by ann"),
        entered_run("rb", parameters={"cluster": "lab"}, run_id="r7", mutates=False),
    ):
        gate("go", evidence="Go?", risk="A2")
    assert "one signed approval; this form can only reject" in shown[0]
    assert "**Asked again:** ann@example.org is a name that was typed" in shown[1]
    assert "`runbook approve r7 --reason TEXT`" in shown[1]
