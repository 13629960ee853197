"""Approval gates: a named person's decision with a reason, kept in the journal.

`gate(...)` stands in the flow body. It looks in the journal first, then for an answer that
Prefect kept but this program did not live to read, and only then asks: the run is suspended
(or paused, when no deployment could run it again). Nothing but an answer that fits the form
passes a gate: a forced state or an empty resume only makes it ask again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from prefect.context import FlowRunContext
from prefect.input import RunInput
from pydantic import Field

from tasks.decisions import (
    APPROVE,
    EXPIRED,
    AnswerRefused,
    Decision,
    GateNotPending,
    PendingGate,
    decide,
    decision_of,
    pending_gates,
    record,
    refusal,
)
from tasks.env import world
from tasks.gate_prefect import Answer, NotAnswered, NotInTime, ask, nudge, resume, stored_answer
from tasks.journal import Entry, Kind, Phase
from tasks.plan import planning
from tasks.runs import CurrentRun, current_run, log

__all__ = [
    "AnswerRefused",
    "Decision",
    "GateExpired",
    "GateForm",
    "GateNotPending",
    "GateRejected",
    "PendingGate",
    "TargetForm",
    "decide",
    "decision_of",
    "expire_gates",
    "gate",
    "pending_gates",
    "resume",
]

Risk = Literal["A0", "A1", "A2", "A3"]
ASKS_MAX = 20


class GateForm(RunInput):
    """The form of a gate. No field that decides has a default: an empty resume must not pass."""

    decision: Literal["approve", "reject"] = Field(
        description="approve: go on as described. reject: end the run here."
    )
    approver: str = Field(min_length=2, max_length=100, description="Your name")
    reason: str = Field(min_length=3, max_length=2000, description="Why, or a ticket number")


class TargetForm(GateForm):
    """The form of an A3 gate: what is destroyed must be typed."""

    target: str = Field(min_length=1, description="Type what the last line above asks for")


class GateRejected(Exception):
    """A person said no at a gate; the run ends here."""

    ended_as = "rejected"

    def __init__(self, decision: Decision) -> None:
        """Tell who rejected and why."""
        self.decision = decision
        super().__init__(
            f"gate `{decision.gate}` was rejected by {decision.approver}: {decision.reason}"
        )


class GateExpired(Exception):
    """Nobody decided at a gate in time; the run ends here."""

    ended_as = "expired"

    def __init__(self, decision: Decision) -> None:
        """Tell which gate expired."""
        self.decision = decision
        super().__init__(f"gate `{decision.gate}` expired: {decision.reason}")


@dataclass(frozen=True, slots=True)
class _Gate:
    """One gate of the run in force."""

    run: CurrentRun
    name: str
    form: type[GateForm]
    evidence: str
    target: str | None
    expires_at: datetime

    def note(self, number: int, what: str, **more: object) -> None:
        draft = self.run.draft(
            Kind.GATE, self.name, Phase.NOTE, payload={"ask": number, "what": what, **more}
        )
        world().journal.append(draft)


def gate(
    name: str,
    *,
    evidence: str,
    risk: Risk,
    form: type[GateForm] = GateForm,
    target: str | None = None,
    expires_seconds: int | None = None,
) -> Decision:
    """Return the approval of a gate, asking for it if there is no decision yet.

    `evidence` is Markdown: what is about to happen, and what is proven. An A3 gate needs a
    `target` and a form with the field `target` (TargetForm), which must be typed alike.
    Raises: GateRejected, GateExpired; Prefect's Pause while the run is suspended.
    """
    if risk == "A3" and (target is None or "target" not in form.model_fields):
        raise ValueError(f"gate `{name}`: A3 needs a target and a form with a field `target`")
    run = current_run()
    if run is None:
        raise RuntimeError(f"gate `{name}` outside of a run")
    run.use(name, object())
    if (plan := planning()) is not None:
        return plan.gate(name, evidence=evidence, risk=risk, form=form)
    decision = decision_of(world().journal, run.run_id, name)
    if decision is None:
        seconds = expires_seconds or world().gate_expires_seconds
        intent = _intent(run, name, seconds, _asked(evidence, risk, form, target))
        expires_at = datetime.fromisoformat(intent.payload["expires_at"])
        decision = _decided(_Gate(run, name, form, evidence, target, expires_at))
    return _passed(decision)


def expire_gates() -> list[PendingGate]:
    """Wake the runs that wait at overdue gates, so that they end; return the gates.

    To be called every now and then by whoever serves the runs. The run itself records the
    expiry, as only it looks first for an answer that came in time.
    """
    now = world().clock.now()
    late = [pending for pending in pending_gates(world().journal) if now >= pending.expires_at]
    return [pending for pending in late if nudge(pending.run_id)]


def _passed(decision: Decision) -> Decision:
    if decision.decision == EXPIRED:
        raise GateExpired(decision)
    if decision.decision != APPROVE:
        raise GateRejected(decision)
    return decision


def _asked(evidence: str, risk: str, form: type[GateForm], target: str | None) -> dict[str, object]:
    schema = form.model_json_schema()
    return {"evidence": evidence, "risk": risk, "target": target, "form_schema": schema}


def _intent(run: CurrentRun, name: str, seconds: int, asked: Mapping[str, Any]) -> Entry:
    journal = world().journal
    found = journal.find(run.run_id, Kind.GATE, name, Phase.INTENT)
    if found is not None:
        return found
    expires_at = (world().clock.now() + timedelta(seconds=seconds)).isoformat(timespec="seconds")
    payload = {**asked, "expires_at": expires_at}
    return journal.append(run.draft(Kind.GATE, name, Phase.INTENT, payload=payload))


def _decided(this: _Gate) -> Decision:
    asked, refused = _asks(this)
    for number in sorted(asked - refused):
        answer = None if world().ask else stored_answer(this.run.run_id, this.name, number)
        decision = None if answer is None else _judged(this, number, answer)
        if decision is not None:
            return decision
    for number in range(max(asked, default=0) + 1, ASKS_MAX + 1):
        remaining_seconds = (this.expires_at - world().clock.now()).total_seconds()
        if remaining_seconds <= 0:
            break
        this.note(number, "asked")
        try:
            answer = _answer(this, number, remaining_seconds)
        except NotAnswered as why:
            this.note(number, "refused", why=str(why))
            continue
        except NotInTime:
            break
        decision = _judged(this, number, answer)
        if decision is not None:
            return decision
    return _expire(this)


def _answer(this: _Gate, number: int, remaining_seconds: float) -> Answer:
    put = world().ask
    if put is not None:
        return Answer(dict(put(this.name, {"evidence": this.evidence})), world().clock.now())
    if FlowRunContext.get() is None:
        raise RuntimeError(f"gate `{this.name}`: nobody can be asked outside of a flow run")
    form = this.form.with_initial_data(description=this.evidence)
    return ask(form, f"{this.name}-{number}", remaining_seconds)


def _judged(this: _Gate, number: int, answer: Answer) -> Decision | None:
    if answer.at >= this.expires_at:
        return _expire(this)
    why = refusal(this.form.model_json_schema(), answer.fields, target=this.target)
    if why is not None:
        log().warning("gate %s: the answer does not count, asking again: %s", this.name, why)
        this.note(number, "refused", why=why, answer=dict(answer.fields))
        return None
    return record(
        world().journal,
        this.run.run_id,
        this.name,
        answer=answer.fields,
        via="prefect" if world().ask is None else "test",
        attempt=this.run.attempt,
        at=answer.at,
    )


def _asks(this: _Gate) -> tuple[set[int], set[int]]:
    notes = [
        entry.payload
        for entry in world().journal.entries(this.run.run_id, kinds=(Kind.GATE,))
        if entry.step == this.name and entry.phase is Phase.NOTE
    ]
    asked = {note["ask"] for note in notes if note["what"] == "asked"}
    return asked, {note["ask"] for note in notes if note["what"] == "refused"}


def _expire(this: _Gate) -> Decision:
    reason = f"no decision by {this.expires_at:%F %T} UTC"
    answer = {"decision": EXPIRED, "approver": "", "reason": reason}
    run = this.run
    return record(
        world().journal, run.run_id, this.name, answer=answer, via="clock", attempt=run.attempt
    )
