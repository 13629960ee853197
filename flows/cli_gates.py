"""Gates from the command line: what is asked, the decision into the journal, the run resumed.

The decision is written to the journal first; that is what passes the gate.  Resuming the run in
Prefect only makes it read the journal, and the server's sweep does it if this process dies.
"""

import getpass
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.prompt import Prompt

from flows.api import Api, ApiRefused
from flows.cli_output import UsageRefused, err, print_markdown, tell
from flows.cli_runs import RunView
from flows.cli_signing import Who, require_key, signature
from flows.cli_start import Schema, parse_value, resolved
from tasks.deciding import approve_command, decide
from tasks.decisions import APPROVE, REJECT, Decision, PendingGate, approvals, pending_gates
from tasks.journal import Journal

COMMON = ("decision", "approver", "reason")
RESUME_LIMIT_SECONDS = 30.0
SCHEMA_LATE = "Run input schema not found"  # Prefect saves it just after the state


@dataclass(frozen=True, slots=True)
class Answer:
    """A filled-in gate form."""

    decision: str
    approver: str
    reason: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def form(self) -> dict[str, Any]:
        said = {"decision": self.decision, "approver": self.approver, "reason": self.reason}
        return {**said, **self.fields}


@dataclass(frozen=True, slots=True)
class Said:
    """What the options of `approve` and `reject` say."""

    name: str | None
    key: Path | None
    reason: str | None
    pairs: list[str]


def login() -> str:
    """Return who calls: behind sudo the one who called sudo."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def gate_of(journal: Journal, run: RunView) -> PendingGate | None:
    """Return the gate that a run waits at, if it does."""
    if not run.waiting:
        return None
    return next(iter(pending_gates(journal, run.id)), None)


def require_gate(journal: Journal, run: RunView) -> PendingGate:
    """Return the gate that a run waits at.  Raises UsageRefused if it waits at none."""
    pending = gate_of(journal, run)
    if pending is None:
        raise UsageRefused(f"run {run.name} ({run.id[:8]}) waits at no gate: it is {run.state}")
    return pending


def answer_from(
    pending: PendingGate, decision: str, approver: str, *, reason: str, pairs: list[str]
) -> Answer:
    """Return the answer that options give.  Raises UsageRefused for a field that is not there."""
    extra = further_fields(pending.form_schema)
    fields = fillers(pending.form_schema) if decision == REJECT else {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or name not in extra:
            raise UsageRefused(
                f"--set {pair!r}: gate {pending.gate} takes "
                + (", ".join(f"{key}=..." for key in extra) or "no further field")
            )
        fields[name] = parse_value(pending.form_schema, name, text)
    missing = [name for name in required(pending.form_schema) if name not in fields]
    if missing:
        words = " ".join(f"--set {name}=..." for name in missing)
        raise UsageRefused(f"gate {pending.gate} also wants: {words}")
    return Answer(decision, approver, reason, fields)


def fillers(schema: Schema) -> dict[str, Any]:
    """Return a value for each required further field: whoever says no need not fill them in."""
    empty: dict[str, Any] = {"integer": 0, "number": 0, "boolean": False}
    extra = further_fields(schema)
    return {
        name: next(iter(extra[name].get("enum", ())), empty.get(extra[name].get("type", ""), "-"))
        for name in required(schema)
    }


def further_fields(schema: Schema) -> dict[str, Schema]:
    """Return a form's fields beyond decision, approver and reason."""
    properties: Schema = schema.get("properties", {})
    return {name: resolved(schema, each) for name, each in properties.items() if name not in COMMON}


def required(schema: Schema) -> list[str]:
    return [name for name in schema.get("required", ()) if name not in COMMON]


def ask(pending: PendingGate, who: Who, meant: str | None = None) -> Answer:
    """Show a gate's evidence and ask on the terminal for the decision."""
    print_markdown(pending.evidence)
    tell(f"\nGate {pending.gate} ({pending.risk}), open until {pending.expires_at:%F %T} UTC")
    tell(f"Approver: {who.describe()}")
    default = ... if meant is None else meant
    decision = str(Prompt.ask("Decision", choices=[APPROVE, REJECT], default=default, console=err))
    require_key(pending, who, decision)
    name = who.name or ask_text("Approver", login(), 2)
    reason = ask_text("Reason", None, 3)
    if decision == REJECT:
        return Answer(decision, name, reason, fillers(pending.form_schema))
    fields = {
        key: ask_field(pending.form_schema, key, schema)
        for key, schema in further_fields(pending.form_schema).items()
    }
    return Answer(decision, name, reason, fields)


def ask_text(label: str, default: str | None, characters_min: int) -> str:
    while True:
        # Ellipsis is rich's way to say that there is no default.
        text = Prompt.ask(label, default=... if default is None else default, console=err)
        if isinstance(text, str) and len(text.strip()) >= characters_min:
            return text.strip()
        tell(f"at least {characters_min} characters, please")


def ask_field(form: Schema, key: str, schema: Schema) -> Any:
    if description := schema.get("description"):
        err.print(f"[dim]{escape(str(description))}[/dim]")
    choices = [str(each) for each in schema.get("enum", ())] or None
    default = schema.get("default", ...)
    while True:
        text = str(Prompt.ask(key, choices=choices, default=default, console=err))
        try:
            return parse_value(form, key, text)
        except UsageRefused as refused:
            tell(str(refused))


def answer_gate(
    api: Api, journal: Journal, pending: PendingGate, answer: Answer, *, who: Who
) -> Decision | None:
    """Sign the decision if there is a key, write it to the journal, then resume the run.

    None: it is recorded, and another person must approve, too.  Raises GateNotPending,
    AnswerRefused, SigningFailed; ApiRefused if the run could not be resumed.
    """
    decision = decide(
        journal,
        pending.run_id,
        pending.gate,
        decision=answer.decision,
        approver=answer.approver,
        reason=answer.reason,
        via="command",
        fields=answer.fields,
        signed=signature(pending, who, answer.form()),
    )
    if decision is None:
        return None
    resume(api, pending.run_id, answer)
    return decision


def one_more(journal: Journal, pending: PendingGate) -> str:
    """Return what to tell when an approval is recorded and another is wanted."""
    names = ", ".join(e.actor for e in approvals(journal, pending.run_id, pending.gate))
    return (
        f"recorded; {pending.gate} takes {pending.rules.approvals} different persons, and has "
        f"{names}. Another one runs:\n  {approve_command(pending.run_id, pending.target)}"
    )


def resume(api: Api, run_id: str, answer: Answer) -> None:
    """Make a run read its journal again.  A run that does not wait any more is left alone."""
    deadline = time.monotonic() + RESUME_LIMIT_SECONDS
    path = f"/flow_runs/{run_id}/resume"
    while True:
        result = api.post(path, {"run_input": answer.form()})
        if result["status"] == "ACCEPT":  # HTTP 200 alone does not mean that
            return
        if api.get(f"/flow_runs/{run_id}")["state_type"] != "PAUSED":
            return
        reason = str((result.get("details") or {}).get("reason") or result["status"])
        if SCHEMA_LATE not in reason or time.monotonic() >= deadline:
            raise ApiRefused(path, 200, f"{reason}; the decision is recorded all the same")
        time.sleep(0.5)
