"""A gate of the run in force: what it asks, what was answered so far, what counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.deciding import approve_command
from tasks.decisions import APPROVE, Decision, record, refusal
from tasks.env import world
from tasks.gate_forms import GateForm
from tasks.gate_prefect import Answer, started_by_schedule
from tasks.journal import Entry, Kind, Phase
from tasks.policy import Rules
from tasks.runs import CurrentRun


@dataclass(frozen=True, slots=True)
class AskedGate:
    """One gate of the run in force."""

    run: CurrentRun
    name: str
    form: type[GateForm]
    target: str | None
    intent: Entry

    @property
    def rules(self) -> Rules:
        """Return the policy's rules of when it was asked."""
        return Rules.model_validate(self.intent.payload.get("rules", {}))

    @property
    def expires_at(self) -> datetime:
        """Return when it closes."""
        return datetime.fromisoformat(self.intent.payload["expires_at"])

    def note(self, number: int, what: str, **more: object) -> None:
        """Write a note on one of its asks."""
        draft = self.run.draft(
            Kind.GATE, self.name, Phase.NOTE, payload={"ask": number, "what": what, **more}
        )
        world().journal.append(draft)


def why_not(this: AskedGate, answer: Answer) -> str | None:
    """Return why an answer does not count, None if it does."""
    why = refusal(this.form.model_json_schema(), answer.fields, target=this.target)
    if why is not None or answer.fields["decision"] != APPROVE or this.rules.accept_unverified:
        return why
    return (
        f"{answer.fields['approver']} is a name that was typed, and this gate takes signed"
        f" approvals only: `{approve_command(this.run.run_id, this.target)}`"
    )


def shown(this: AskedGate) -> str:
    """Return the evidence, and why it is asked again if it is."""
    evidence = str(this.intent.payload["evidence"])
    refused = [note for note in notes(this) if note["what"] == "refused" and "answer" in note]
    if not refused:
        return evidence
    return f"**Asked again:** {refused[-1]['why']}\n\n{evidence}"


def unattended(this: AskedGate) -> Decision | None:
    """Return the policy's own approval of a scheduled run's gate, if it gives one."""
    if not (this.rules.unattended and started_by_schedule()):
        return None
    reason = f"the policy lets scheduled runs pass {this.intent.payload['risk']} unattended"
    answer = {"decision": APPROVE, "approver": "schedule", "reason": reason}
    if refusal(this.form.model_json_schema(), answer, target=this.target) is not None:
        return None  # the form wants more than a yes
    run = this.run
    return record(
        world().journal, run.run_id, this.name, answer=answer, via="policy", attempt=run.attempt
    )


def notes(this: AskedGate) -> list[Mapping[str, Any]]:
    """Return the notes of a gate: asks, refusals, first approvals."""
    entries = world().journal.entries(this.run.run_id, kinds=(Kind.GATE,))
    return [e.payload for e in entries if e.step == this.name and e.phase is Phase.NOTE]


def asks(this: AskedGate) -> tuple[set[int], set[int]]:
    """Return the numbers of the asks, and of those whose answers were refused."""
    said = notes(this)
    asked = {note["ask"] for note in said if note["what"] == "asked"}
    return asked, {note["ask"] for note in said if note["what"] == "refused"}
