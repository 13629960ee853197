"""Deciding a waiting gate from outside of its run: signed or not, by one person or by two.

Each approval is a journal entry of its own. The one that fulfils the policy is the decision;
one that leaves it wanting is a note that the next approver's decision stands beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.decisions import (
    APPROVE,
    COMMON,
    AnswerRefused,
    Decision,
    GateNotPending,
    PendingGate,
    Proof,
    approvals,
    decision_of,
    pending_gates,
    record,
    refusal,
    said_of,
)
from tasks.journal import Draft, Entry, Journal, Kind, Phase
from tasks.signatures import APPROVED, CLOCK_SKEW, NotVerified, Statement, verify, verify_decision
from tasks.signers import SignersRefused
from tasks.signing import SIGN_SECONDS


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature over a statement of the same decision, and when the signer says he made it."""

    at: str
    signature: str


def statement_for(pending: PendingGate, answer: Mapping[str, Any], at: str) -> Statement:
    """Return what is to be signed for an answer to a waiting gate."""
    return Statement(
        run_id=pending.run_id,
        gate=pending.gate,
        asked_sha256=pending.asked_sha256,
        decision=answer["decision"],
        approver=answer["approver"],
        reason=answer["reason"],
        fields={key: value for key, value in answer.items() if key not in COMMON},
        at=at,
    )


def decide(  # noqa: PLR0913  (an approval has these parts; all but the first three by name)
    journal: Journal,
    run_id: str,
    gate: str,
    *,
    decision: str,
    approver: str,
    reason: str,
    via: str,
    fields: Mapping[str, Any] | None = None,
    signed: Signed | None = None,
) -> Decision | None:
    """Record the decision of a waiting gate; afterwards the run must be resumed.

    None: the approval is recorded, and the policy asks for another person's, too. The same
    decision again is accepted (its run may have missed the resume).
    Raises: GateNotPending, AnswerRefused.
    """
    already = decision_of(journal, run_id, gate)
    if already is not None:
        return _same(already, decision, run_id)
    answer = {"decision": decision, "approver": approver, "reason": reason, **(fields or {})}
    pending = _open_gate(journal, run_id, gate)
    _require_fit(pending, answer)
    proof = None if signed is None else _proof(pending, answer, signed)
    at = datetime.now(UTC) if signed is None else datetime.fromisoformat(signed.at)
    also_by: tuple[str, ...] | None = ()
    if decision == APPROVE:
        also_by = _enough(journal, pending, answer, via=via, at=at, proof=proof)
    if also_by is None:
        return None
    via = _via(via, proof)
    standing = record(
        journal, run_id, gate, answer=answer, via=via, at=at, proof=proof, also_by=also_by
    )
    return _same(standing, decision, run_id)


def _enough(
    journal: Journal,
    pending: PendingGate,
    answer: Mapping[str, Any],
    *,
    via: str,
    at: datetime,
    proof: Proof | None,
) -> tuple[str, ...] | None:
    """Return who else approved, if that is enough; else note this approval and return None."""
    _require_enough_proof(pending, proof)
    others = _others(journal, pending, answer, proof)
    if len(others) + 1 >= pending.rules.approvals:
        return others
    _note(journal, pending, answer, via=via, at=at, proof=proof)
    others = _others(journal, pending, answer, None)  # another came meanwhile, perhaps
    return others if len(others) + 1 >= pending.rules.approvals else None


def approve_command(run_id: str, target: str | None) -> str:
    """Return the command that approves the gate of a run by a signature."""
    typed = "" if target is None else " --set target=TARGET"
    return f"runbook approve {run_id[:8]} --reason TEXT{typed}"


def _same(already: Decision, decision: str, run_id: str) -> Decision:
    if already.decision == decision:
        return already
    raise GateNotPending(
        f"run {run_id}: gate `{already.gate}` was already decided: {already.decision} by"
        f" {already.approver or 'the clock'} at {already.at:%F %T} UTC"
    )


def _open_gate(journal: Journal, run_id: str, gate: str) -> PendingGate:
    waiting = [g for g in pending_gates(journal, run_id) if g.gate == gate]
    if not waiting:
        raise GateNotPending(f"run {run_id}: gate `{gate}` does not wait for a decision")
    pending = waiting[0]
    if datetime.now(UTC) >= pending.expires_at:
        raise GateNotPending(
            f"run {run_id}: gate `{gate}` expired at {pending.expires_at:%F %T} UTC"
        )
    return pending


def _require_fit(pending: PendingGate, answer: Mapping[str, Any]) -> None:
    refused = refusal(pending.form_schema, answer, target=pending.target)
    if refused is not None:
        raise AnswerRefused(f"run {pending.run_id}: gate `{pending.gate}`: {refused}")


def _proof(pending: PendingGate, answer: Mapping[str, Any], signed: Signed) -> Proof:
    where = f"run {pending.run_id}: gate `{pending.gate}`"
    statement = statement_for(pending, answer, signed.at)
    try:
        found = verify(statement, signed.signature, Path(pending.signers))
        at = datetime.fromisoformat(signed.at)
    except (NotVerified, SignersRefused) as error:
        raise AnswerRefused(f"{where}: {error}") from error
    now = datetime.now(UTC)
    since = max(pending.asked_at, now - timedelta(seconds=SIGN_SECONDS)) - CLOCK_SKEW
    if not since <= at <= now + CLOCK_SKEW or at >= pending.expires_at:
        raise AnswerRefused(
            f"{where}: signed at {at:%F %T} UTC; the gate is open from"
            f" {pending.asked_at:%F %T} to {pending.expires_at:%F %T} UTC, and it is"
            f" {now:%F %T} here: look at the clocks, then sign again"
        )
    return Proof(signed.signature, found.fingerprint)


def _require_enough_proof(pending: PendingGate, proof: Proof | None) -> None:
    if proof is None and pending.signed_only:
        raise AnswerRefused(
            f"gate `{pending.gate}` ({pending.risk}) takes signed approvals only; sign it with"
            f" your SSH key: {approve_command(pending.run_id, pending.target)} [--key FILE]"
        )


def _others(
    journal: Journal, pending: PendingGate, answer: Mapping[str, Any], proof: Proof | None
) -> tuple[str, ...]:
    """Return who else has approved the same. Raises: AnswerRefused if it is the same person."""
    me = str(answer["approver"])
    names: list[str] = []
    for entry in _sound_approvals(journal, pending):
        was = entry.payload
        mine = entry.actor == me or (proof is not None and was["key"] == proof.fingerprint)
        if mine and proof is not None:
            raise AnswerRefused(
                f"gate `{pending.gate}` takes {pending.rules.approvals} different persons, and"
                f" {entry.actor} has approved already, at {was['answered_at']}"
            )
        if mine:
            continue
        fields = {key: value for key, value in answer.items() if key not in COMMON}
        if was["fields"] != fields:
            raise AnswerRefused(
                f"gate `{pending.gate}`: {entry.actor} approved {was['fields']}, and this is"
                f" {fields}: approve the same, or reject"
            )
        names.append(entry.actor)
    return tuple(dict.fromkeys(names))


def _sound_approvals(journal: Journal, pending: PendingGate) -> list[Entry]:
    intent = journal.find(pending.run_id, Kind.GATE, pending.gate, Phase.INTENT)
    found = approvals(journal, pending.run_id, pending.gate)
    if intent is None:
        return []
    signers = Path(pending.signers)
    return [each for each in found if verify_decision(each, intent, signers) is None]


def _note(
    journal: Journal,
    pending: PendingGate,
    answer: Mapping[str, Any],
    *,
    via: str,
    at: datetime,
    proof: Proof | None,
) -> None:
    draft = Draft(
        pending.run_id,
        Kind.GATE,
        pending.gate,
        Phase.NOTE,
        actor=str(answer["approver"]),
        via=_via(via, proof),
        payload={"what": APPROVED, **said_of(answer, at, proof)},
        signature=None if proof is None else proof.signature,
    )
    journal.append(draft)


def _via(via: str, proof: Proof | None) -> str:
    return via if proof is None else f"{via}, signed"
