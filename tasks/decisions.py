"""Gate decisions in the journal: what is asked, what was decided, and writing it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.journal import AlreadyRecorded, Draft, Entry, Journal, JournalError, Kind, Phase
from tasks.policy import Rules
from tasks.signatures import asked_sha256, is_approval

APPROVE = "approve"
REJECT = "reject"
EXPIRED = "expired"
COMMON = ("decision", "approver", "reason")  # the fields that every form has
OPEN = Rules()


class GateNotPending(JournalError):
    """There is no such gate waiting: never asked, answered, or its run has ended."""


class AnswerRefused(JournalError):
    """An answer does not fit the gate: a field is wrong, or the typed target differs."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided at a gate, by whom and why."""

    gate: str
    decision: str  # approve | reject | expired
    approver: str
    reason: str
    via: str
    at: datetime
    fields: Mapping[str, Any]  # the form's further fields
    verified: bool = False  # signed by the approver, not only typed
    key: str = ""  # the fingerprint of the key that signed
    also_by: tuple[str, ...] = ()  # who had approved before, where two are asked


@dataclass(frozen=True, slots=True)
class Proof:
    """A signature that was verified, and the key that made it."""

    signature: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class PendingGate:
    """A gate that waits for a decision."""

    run_id: str
    gate: str
    runbook: str
    cluster: str
    risk: str
    target: str | None
    evidence: str  # Markdown
    asked_at: datetime
    expires_at: datetime
    form_schema: Mapping[str, Any]  # JSON schema of the form, further fields included
    asked_sha256: str = ""  # what a signature is over, beside the decision
    rules: Rules = OPEN  # the policy's, when it was asked
    signers: str = ""  # the allowed-signers file that the run reads
    approved_by: tuple[str, ...] = ()  # who has approved, where one is not enough

    @property
    def signed_only(self) -> bool:
        """Tell whether only a signed approval counts."""
        return not self.rules.accept_unverified


def pending_gates(journal: Journal, run_id: str | None = None) -> list[PendingGate]:
    """Return the gates that wait for a decision, of one run or of all, oldest first."""
    undecided: dict[tuple[str, str], Entry] = {}
    waiting: dict[tuple[str, str], Entry] = {}
    for entry in journal.entries(run_id, kinds=(Kind.RUN, Kind.GATE)):
        gate = (entry.run_id, entry.step)
        if entry.kind is Kind.RUN and entry.phase is Phase.ENDED:
            waiting = {key: value for key, value in waiting.items() if key[0] != entry.run_id}
        if entry.kind is Kind.GATE and entry.phase is Phase.INTENT:
            undecided[gate] = waiting[gate] = entry
        if _is_asked(entry) and gate in undecided:
            waiting[gate] = undecided[gate]  # asked again by a run that had ended and was retried
        if entry.kind is Kind.GATE and entry.phase is Phase.DECISION:
            undecided.pop(gate, None)
            waiting.pop(gate, None)
    return [_pending(journal, entry) for entry in waiting.values()]


def _is_asked(entry: Entry) -> bool:
    note = entry.kind is Kind.GATE and entry.phase is Phase.NOTE
    return note and entry.payload.get("what") == "asked"


def approvals(journal: Journal, run_id: str, gate: str) -> list[Entry]:
    """Return the approvals of a gate that takes more than one, while it is not decided."""
    entries = journal.entries(run_id, kinds=(Kind.GATE,))
    return [e for e in entries if e.step == gate and e.phase is Phase.NOTE and is_approval(e)]


def decision_of(journal: Journal, run_id: str, gate: str) -> Decision | None:
    """Return the decision of a gate, if there is one."""
    entry = journal.find(run_id, Kind.GATE, gate, Phase.DECISION)
    return None if entry is None else _decision(entry)


def refusal(
    schema: Mapping[str, Any], answer: Mapping[str, Any], *, target: str | None
) -> str | None:
    """Return why an answer does not fit a gate's form and target, or None if it does."""
    # Here, as it imports all of Prefect: the commands that only look must not wait for that.
    from prefect.utilities.schema_tools.validation import (  # noqa: PLC0415
        ValidationError,
        validate,
    )

    try:
        validate(dict(answer), dict(schema), raise_on_error=True)
    except ValidationError as error:
        return str(error)
    if target is not None and answer["decision"] == APPROVE and answer.get("target") != target:
        return f"the typed target is {answer.get('target')!r}, the gate's target is {target!r}"
    return None


def record(  # noqa: PLR0913  (as decide)
    journal: Journal,
    run_id: str,
    gate: str,
    *,
    answer: Mapping[str, Any],
    via: str,
    attempt: int = 0,
    at: datetime | None = None,
    proof: Proof | None = None,
    also_by: Sequence[str] = (),
) -> Decision:
    """Write a decision; if there is one already, that one stands and is returned."""
    said = said_of(answer, at or datetime.now(UTC), proof)
    draft = Draft(
        run_id,
        Kind.GATE,
        gate,
        Phase.DECISION,
        attempt=attempt,
        actor=str(answer["approver"]),
        via=via,
        payload={**said, "also_by": list(also_by)},
        signature=None if proof is None else proof.signature,
    )
    try:
        return _decision(journal.append(draft))
    except AlreadyRecorded:
        standing = decision_of(journal, run_id, gate)
        if standing is None:
            raise
        return standing


def said_of(answer: Mapping[str, Any], at: datetime, proof: Proof | None) -> dict[str, Any]:
    """Return the payload of an answer: what was said, when, and whether a key stands for it."""
    return {
        "decision": answer["decision"],
        "reason": answer["reason"],
        "fields": {key: value for key, value in answer.items() if key not in COMMON},
        "answered_at": at.astimezone(UTC).isoformat(timespec="seconds"),
        "verified": proof is not None,
        "key": "" if proof is None else proof.fingerprint,
    }


def _decision(entry: Entry) -> Decision:
    was = entry.payload
    return Decision(
        gate=entry.step,
        decision=was["decision"],
        approver=entry.actor,
        reason=was["reason"],
        via=entry.via,
        at=datetime.fromisoformat(was["answered_at"]),
        fields=was["fields"],
        verified=was.get("verified", False),
        key=was.get("key", ""),
        also_by=tuple(was.get("also_by", ())),
    )


def _pending(journal: Journal, entry: Entry) -> PendingGate:
    was = entry.payload
    return PendingGate(
        run_id=entry.run_id,
        gate=entry.step,
        runbook=journal.run(entry.run_id).runbook,
        cluster=entry.cluster,
        risk=was["risk"],
        target=was["target"],
        evidence=was["evidence"],
        asked_at=entry.at,
        expires_at=datetime.fromisoformat(was["expires_at"]),
        form_schema=was["form_schema"],
        asked_sha256=asked_sha256(entry),
        rules=Rules.model_validate(was.get("rules", {})),
        signers=was.get("signers", ""),
        approved_by=tuple(e.actor for e in approvals(journal, entry.run_id, entry.step)),
    )
