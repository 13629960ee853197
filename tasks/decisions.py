"""Gate decisions in the journal: what is asked, what was decided, and deciding from outside."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.journal import AlreadyRecorded, Draft, Entry, Journal, JournalError, Kind, Phase

APPROVE = "approve"
REJECT = "reject"
EXPIRED = "expired"


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
        if entry.kind is Kind.GATE and entry.phase is Phase.NOTE and gate in undecided:
            waiting[gate] = undecided[gate]  # asked again by a run that had ended and was retried
        if entry.kind is Kind.GATE and entry.phase is Phase.DECISION:
            undecided.pop(gate, None)
            waiting.pop(gate, None)
    return [_pending(journal, entry) for entry in waiting.values()]


def decision_of(journal: Journal, run_id: str, gate: str) -> Decision | None:
    """Return the decision of a gate, if there is one."""
    entry = journal.find(run_id, Kind.GATE, gate, Phase.DECISION)
    return None if entry is None else _decision(entry)


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
) -> Decision:
    """Record the decision of a waiting gate; afterwards the run must be resumed.

    The same decision again is accepted (its run may have missed the resume).
    Raises: GateNotPending, AnswerRefused.
    """
    answer = {"decision": decision, "approver": approver, "reason": reason, **(fields or {})}
    already = decision_of(journal, run_id, gate)
    if already is not None:
        if already.decision == decision:
            return already
        raise GateNotPending(
            f"run {run_id}: gate `{gate}` was already decided: {already.decision} by"
            f" {already.approver} at {already.at:%F %T} UTC"
        )
    waiting = [g for g in pending_gates(journal, run_id) if g.gate == gate]
    if not waiting:
        raise GateNotPending(f"run {run_id}: gate `{gate}` does not wait for a decision")
    pending = waiting[0]
    if datetime.now(UTC) >= pending.expires_at:
        raise GateNotPending(
            f"run {run_id}: gate `{gate}` expired at {pending.expires_at:%F %T} UTC"
        )
    refused = refusal(pending.form_schema, answer, target=pending.target)
    if refused is not None:
        raise AnswerRefused(f"run {run_id}: gate `{gate}`: {refused}")
    return record(journal, run_id, gate, answer=answer, via=via)


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


def record(
    journal: Journal,
    run_id: str,
    gate: str,
    *,
    answer: Mapping[str, Any],
    via: str,
    attempt: int = 0,
    at: datetime | None = None,
) -> Decision:
    """Write a decision; if there is one already, that one stands and is returned."""
    rest = {k: v for k, v in answer.items() if k not in ("decision", "approver", "reason")}
    payload = {
        "decision": answer["decision"],
        "reason": answer["reason"],
        "fields": rest,
        "answered_at": (at or datetime.now(UTC)).isoformat(timespec="seconds"),
    }
    draft = Draft(
        run_id,
        Kind.GATE,
        gate,
        Phase.DECISION,
        attempt=attempt,
        actor=str(answer["approver"]),
        via=via,
        payload=payload,
    )
    try:
        return _decision(journal.append(draft))
    except AlreadyRecorded:
        standing = decision_of(journal, run_id, gate)
        if standing is None:
            raise
        return standing


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
    )
