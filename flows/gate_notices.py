"""Gates that wait are told: an event of ours for each, and Prefect's webhook for that event.

The event is told once for each gate, and once more before it closes. Whoever wants mail or a
chat instead makes an automation of his own on the same events in Prefect's UI.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows.api import Api, ApiRefused
from flows.automations import Automation, ensure
from flows.server import ServeRefused, closed_file
from tasks.decisions import PendingGate, pending_gates
from tasks.journal import AlreadyRecorded, Draft, Journal, Kind, Phase
from tasks.journal_tables import EntryRow

WAITS = "hosted-engine-runbooks.gate.waits"
CLOSES_SOON = "hosted-engine-runbooks.gate.closes-soon"
REMIND_AT = 0.75  # of the time between asking and expiry
BLOCK = "runbooks-gate-notices"
NOT_FOUND = 404

SAYS = {WAITS: "waits for a decision", CLOSES_SOON: "closes soon and is not decided"}


class NoticeRefused(ServeRefused):
    """The file with the address for notices cannot be used."""


def notice_url(file: Path, required: bool) -> str | None:
    """Return the address that notices go to; None if there is none.  Raises NoticeRefused.

    It may hold a token, so the file must be closed to others, and no message names the address.
    """
    if not required and not file.exists():
        return None
    try:
        url = closed_file(file)
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise NoticeRefused(f"the address for notices cannot be read from {file}") from error
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and not url.split()[1:]
    except ValueError:
        good = False
    if not good:
        raise NoticeRefused(f"{file} must hold one line, an http:// or https:// address")
    return url


def ensure_notices(api: Api, tag: str, url: str | None) -> None:
    """Make the automation that calls the address, or take it away.  Raises ApiRefused, NoServer."""
    name = f"{tag}: a gate waits"
    if url is not None:
        ensure(api, [notices(name, ensure_block(api, url))])
        return
    for there in api.post("/automations/filter", {"automations": {"name": {"any_": [name]}}}):
        api.request("DELETE", f"/automations/{there['id']}")
    block = find_block(api)
    if block is not None:
        api.request("DELETE", f"/block_documents/{block}")


def notices(name: str, block_id: str) -> Automation:
    return {
        "name": name,
        "description": "Calls the address of RUNBOOKS_NOTIFY_URL_FILE when a gate waits.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "match": {"prefect.resource.id": "hosted-engine-runbooks.gate.*"},
            "expect": [WAITS, CLOSES_SOON],
            "for_each": ["prefect.resource.id"],
            "threshold": 1,
            "within": 0,
        },
        "actions": [
            {
                "type": "call-webhook",
                "block_document_id": block_id,
                "payload": "{{ event.payload | tojson }}",
            }
        ],
    }


def ensure_block(api: Api, url: str) -> str:
    """Return the id of Prefect's webhook block with the address."""
    data = {
        "url": url,
        "method": "POST",
        "headers": {"Content-Type": "application/json"},
        "allow_private_urls": True,
    }
    there = find_block(api)
    if there is not None:
        api.request("PATCH", f"/block_documents/{there}", {"data": data})
        return there
    kind = api.get("/block_types/slug/webhook")["id"]
    schemas = api.post(
        "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind]}}}
    )
    made = api.post(
        "/block_documents/",
        {"name": BLOCK, "block_type_id": kind, "block_schema_id": schemas[0]["id"], "data": data},
    )
    return str(made["id"])


def find_block(api: Api) -> str | None:
    try:
        return str(api.get(f"/block_types/slug/webhook/block_documents/name/{BLOCK}")["id"])
    except ApiRefused as refused:
        if refused.status == NOT_FOUND:
            return None
        raise


def tell_waiting(api: Api, journal: Journal, ui_url: str) -> list[str]:
    """Tell of gates that wait and of those that close soon, each once; return what was told."""
    now = datetime.now(UTC)
    told = []
    for pending in pending_gates(journal):
        open_for = pending.expires_at - pending.asked_at
        late = now >= pending.asked_at + REMIND_AT * open_for
        for event in (WAITS, *((CLOSES_SOON,) if late else ())):
            if now < pending.expires_at and note_told(journal, pending, event):
                api.request("POST", "/events", [notice(pending, event, ui_url)])
                told.append(f"run {pending.run_id}: gate {pending.gate} {SAYS[event]}: told")
    return told


def note_told(journal: Journal, pending: PendingGate, event: str) -> bool:
    """Note that an event is told; False if it was noted before, by whichever process."""

    def unless_told(session: Session) -> None:
        mine = select(EntryRow.payload).filter_by(
            run_id=pending.run_id, kind=Kind.GATE, step=pending.gate, phase=Phase.NOTE
        )
        if any(f'"{event}"' in payload for payload in session.scalars(mine)):
            raise AlreadyRecorded(event)

    payload = {"what": "told", "event": event}
    draft = Draft(pending.run_id, Kind.GATE, pending.gate, Phase.NOTE, via="sweep", payload=payload)
    try:
        journal.append(draft, unless_told)
    except AlreadyRecorded:
        return False
    return True


def notice(pending: PendingGate, event: str, ui_url: str) -> Mapping[str, Any]:
    """Return the event of a gate; its payload is what the address gets, as JSON."""
    link = f"{ui_url}/runs/flow-run/{pending.run_id}"
    text = (
        f"{pending.runbook} on {pending.cluster}: gate {pending.gate} ({pending.risk}) "
        f"{SAYS[event]}, open until {pending.expires_at:%F %T} UTC. Run {pending.run_id[:8]}: "
        f"{link} or `runbook approve {pending.run_id[:8]}`"
    )
    resource = f"hosted-engine-runbooks.gate.{pending.run_id}.{pending.gate}"
    return {
        "id": str(uuid5(NAMESPACE_URL, f"{event}/{resource}")),
        "event": event,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": resource, "prefect.resource.name": pending.gate},
        "related": [
            {
                "prefect.resource.id": f"prefect.flow-run.{pending.run_id}",
                "prefect.resource.role": "flow-run",
            }
        ],
        "payload": {
            "text": text,
            "run_id": pending.run_id,
            "runbook": pending.runbook,
            "cluster": pending.cluster,
            "gate": pending.gate,
            "risk": pending.risk,
            "expires_at": pending.expires_at.isoformat(),
            "approved_by": list(pending.approved_by),
            "url": link,
        },
    }
