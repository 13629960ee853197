"""Approval gates: a named person's decision with a reason, kept in the journal.

`gate(...)` stands in the flow body. It looks in the journal first, then for an answer that
Prefect kept but this program did not live to read, and only then asks: the run is suspended
(or paused, when no deployment could run it again). Nothing but an answer that fits the form
passes a gate: a forced state or an empty resume only makes it ask again.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from prefect.context import FlowRunContext

from tasks.audit_heads import tell_heads
from tasks.deciding import approve_command, decide
from tasks.decisions import (
    APPROVE,
    EXPIRED,
    AnswerRefused,
    Decision,
    GateNotPending,
    PendingGate,
    decision_of,
    pending_gates,
    record,
)
from tasks.env import world
from tasks.gate_asked import AskedGate, asks, shown, unattended, why_not
from tasks.gate_forms import (
    ApprovalNotProven,
    GateExpired,
    GateForm,
    GateRejected,
    Risk,
    TargetForm,
)
from tasks.gate_prefect import (
    Answer,
    NotAnswered,
    NotInTime,
    ask,
    nudge,
    resume,
    stored_answer,
)
from tasks.journal import Entry, Kind, Phase
from tasks.plan import planning
from tasks.policy import rules_line
from tasks.runs import CurrentRun, current_run, log
from tasks.signatures import gate_problem

__all__ = [
    "AnswerRefused",
    "ApprovalNotProven",
    "Decision",
    "GateExpired",
    "GateForm",
    "GateNotPending",
    "GateRejected",
    "PendingGate",
    "Risk",
    "TargetForm",
    "decide",
    "decision_of",
    "expire_gates",
    "gate",
    "pending_gates",
    "resume",
]

ASKS_MAX = 20


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
    Raises: GateRejected, GateExpired, ApprovalNotProven; Prefect's Pause while it is suspended.
    """
    if risk == "A3" and (target is None or "target" not in form.model_fields):
        raise ValueError(f"gate `{name}`: A3 needs a target and a form with a field `target`")
    run = current_run()
    if run is None:
        raise RuntimeError(f"gate `{name}` outside of a run")
    run.use(name, object())
    if (plan := planning()) is not None:
        return plan.gate(name, evidence=evidence, risk=risk, form=form)
    rules = world().policy.rules(risk)
    limits = (expires_seconds or world().gate_expires_seconds, rules.expires_seconds)
    seconds = min(limit for limit in limits if limit is not None)
    asked = _asked(run, risk, evidence=evidence, form=form, target=target)
    this = AskedGate(run, name, form, target, _intent(run, name, seconds, asked))
    decision = decision_of(world().journal, run.run_id, name)
    return _passed(this, _decided(this) if decision is None else decision)


def expire_gates() -> list[PendingGate]:
    """Wake the runs that wait at overdue gates, so that they end; return the gates.

    To be called every now and then by whoever serves the runs. The run itself records the
    expiry, as only it looks first for an answer that came in time.
    """
    now = world().clock.now()
    late = [pending for pending in pending_gates(world().journal) if now >= pending.expires_at]
    return [pending for pending in late if nudge(pending.run_id)]


def _passed(this: AskedGate, decision: Decision) -> Decision:
    if decision.decision == EXPIRED:
        raise GateExpired(decision)
    if decision.decision != APPROVE:
        raise GateRejected(decision)
    entries = world().journal.entries(this.run.run_id, kinds=(Kind.GATE,))
    problem = gate_problem(entries, this.intent, world().policy.signers)
    if problem is not None:
        raise ApprovalNotProven(this.name, problem)
    return decision


def _asked(
    run: CurrentRun, risk: Risk, *, evidence: str, form: type[GateForm], target: str | None
) -> dict[str, object]:
    policy = world().policy
    rules = policy.rules(risk)
    line = rules_line(rules, policy, approve_command(run.run_id, target))
    return {
        "evidence": f"{line}\n\n{evidence}",
        "risk": risk,
        "target": target,
        "form_schema": form.model_json_schema(),
        "rules": rules.model_dump(mode="json"),
        "signers": "" if policy.signers is None else str(policy.signers),
    }


def _intent(run: CurrentRun, name: str, seconds: int, asked: Mapping[str, Any]) -> Entry:
    journal = world().journal
    found = journal.find(run.run_id, Kind.GATE, name, Phase.INTENT)
    if found is not None:
        return found
    expires_at = (world().clock.now() + timedelta(seconds=seconds)).isoformat(timespec="seconds")
    payload = {**asked, "expires_at": expires_at}
    return journal.append(run.draft(Kind.GATE, name, Phase.INTENT, payload=payload))


def _decided(this: AskedGate) -> Decision:
    by_itself = unattended(this)
    if by_itself is not None:
        return by_itself
    asked, refused = asks(this)
    for number in sorted(asked - refused):
        answer = None if world().ask else stored_answer(this.run.run_id, this.name, number)
        decision = None if answer is None else _judged(this, number, answer)
        if decision is not None:
            return decision
    for number in range(max(asked, default=0) + 1, ASKS_MAX + 1):
        decided = decision_of(world().journal, this.run.run_id, this.name)
        if decided is not None:  # by the command, while a paused run waited in place
            return decided
        remaining_seconds = (this.expires_at - world().clock.now()).total_seconds()
        if remaining_seconds <= 0:
            break
        this.note(number, "asked")
        # While it waits, the store is out of this program's hands.
        tell_heads(this.run.cluster, log().warning)
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
    else:
        return _expire(this, f"asked {ASKS_MAX} times, and no answer counted; start a new run")
    return _expire(this)


def _answer(this: AskedGate, number: int, remaining_seconds: float) -> Answer:
    put = world().ask
    if put is not None:
        return Answer(dict(put(this.name, {"evidence": shown(this)})), world().clock.now())
    if FlowRunContext.get() is None:
        raise RuntimeError(f"gate `{this.name}`: nobody can be asked outside of a flow run")
    form = this.form.with_initial_data(description=shown(this))
    return ask(form, f"{this.name}-{number}", remaining_seconds)


def _judged(this: AskedGate, number: int, answer: Answer) -> Decision | None:
    if answer.at >= this.expires_at:
        return _expire(this)
    why = why_not(this, answer)
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


def _expire(this: AskedGate, why: str = "") -> Decision:
    reason = why or f"no decision by {this.expires_at:%F %T} UTC"
    answer = {"decision": EXPIRED, "approver": "", "reason": reason}
    run = this.run
    return record(
        world().journal, run.run_id, this.name, answer=answer, via="clock", attempt=run.attempt
    )
