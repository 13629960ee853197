"""What the `runbook` command does, one function a verb."""

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from flows.cli_gates import (
    Said,
    answer_from,
    answer_gate,
    ask,
    gate_of,
    login,
    one_more,
    require_gate,
)
from flows.cli_leases import lease_lines, leases
from flows.cli_output import (
    COMPLETED,
    FAILED,
    UsageRefused,
    out,
    print_json,
    print_markdown,
    print_table,
    tell,
)
from flows.cli_runs import RunView, entry_of
from flows.cli_session import How, Session, follow_to_the_end, open_session, show_gate
from flows.cli_signing import require_key, who_answers
from flows.cli_start import (
    find_deployment,
    parse_parameters,
    require_served_inventory,
    start_run,
)
from flows.server import Place, ServerRecord, credentials
from runbooks.catalogue import catalogue
from runbooks.pages import page
from tasks.decisions import pending_gates
from tasks.policy import policy_of
from tasks.settings import settings
from tasks.timeline import timeline

LATEST = 20


def list_runbooks(as_json: bool) -> None:
    entries = catalogue().values()
    if as_json:
        rows = [{"id": e.id, "title": e.title, "risk": e.risk, "when": e.when} for e in entries]
        print_json(rows)
        return
    print_table(("id", "risk", "title"), [(e.id, e.risk, e.title) for e in entries])


def show(runbook: str, as_json: bool) -> None:
    entry = entry_of(runbook)
    if as_json:
        print_json(entry)
        return
    print_markdown(page(entry))


def run(runbook: str, cluster: str | None, pairs: Sequence[str], how: How) -> None:
    entry_of(runbook)
    session = open_session()
    start(session, runbook, [*([f"cluster={cluster}"] if cluster else []), *pairs], how)


def start(session: Session, runbook: str, pairs: Sequence[str], how: How) -> None:
    """Start a run of a served runbook and follow it, unless told not to."""
    require_served_inventory(session.record, settings().inventory)
    policy_of(settings())
    deployment = find_deployment(session.api, runbook)
    parameters = parse_parameters(deployment["parameter_openapi_schema"], pairs)
    run_id = start_run(session.api, deployment, parameters, how.approver or login())
    started = session.runs.read(run_id)
    tell(f"started {runbook} as {started.name} ({run_id[:8]}): {started.ui_url}")
    if not how.detach:
        raise typer.Exit(follow_to_the_end(session, run_id, how))
    if how.as_json:
        print_json({"run": started})
    else:
        tell(f"follow it with: runbook follow {run_id[:8]}")


def follow(wanted: str, how: How) -> None:
    session = open_session()
    raise typer.Exit(follow_to_the_end(session, session.runs.find(wanted).id, how))


def decide(wanted: str, decision: str, said: Said, as_json: bool) -> None:
    """Answer the gate that a run waits at; what options do not say is asked on a terminal."""
    session = open_session()
    found = session.runs.find(wanted)
    pending = require_gate(session.journal, found)
    who = who_answers(pending, said.name, said.key)
    require_key(pending, who, decision)
    if said.reason is not None:
        name = who.name or login()
        answer = answer_from(pending, decision, name, reason=said.reason, pairs=said.pairs)
    elif sys.stdin.isatty() and not as_json:
        answer = ask(pending, who, decision)
    else:
        raise UsageRefused("--reason is missing; on a terminal it would be asked")
    decided = answer_gate(session.api, session.journal, pending, answer, who=who)
    if as_json:
        print_json({"run": session.runs.read(found.id), "decision": decided})
    elif decided is None:
        tell(one_more(session.journal, pending))
    else:
        sure = f"signed ({decided.key})" if decided.verified else "unverified"
        tell(f"{decided.gate} of {found.name}: {decided.decision} by {decided.approver}, {sure}")
        tell(f"follow it with: runbook follow {found.id[:8]}")


def status(wanted: str | None, as_json: bool) -> None:
    session = open_session()
    if wanted is not None:
        status_of(session, session.runs.find(wanted), as_json)
        return
    runs = session.runs.latest(LATEST)
    waiting = {each.id for each in runs if each.waiting}
    gates = [gate for gate in pending_gates(session.journal) if gate.run_id in waiting]
    if as_json:
        kept = leases(session.journal)
        print_json({"server": session.record, "runs": runs, "gates": gates, "leases": kept})
        return
    out.print(f"server: {session.record.ui_url}")
    for line in lease_lines(leases(session.journal)):
        out.print(line, markup=False)
    names = {gate.run_id: gate.gate for gate in gates}
    print_table(
        ("run", "began (UTC)", "runbook", "cluster", "state", "by", "waits at"),
        [
            (r.id[:8], r.began, r.runbook, r.cluster, r.state, r.started_by, names.get(r.id, ""))
            for r in runs
        ],
    )


def status_of(session: Session, found: RunView, as_json: bool) -> None:
    entries = session.journal.entries(found.id)
    pending = gate_of(session.journal, found)
    if as_json:
        print_json({"run": found, "gate": pending, "journal": entries})
        return
    out.print(f"{found.name} ({found.id}): {found.state} {found.message}", markup=False)
    out.print(found.ui_url, markup=False)
    lines = [(each.at, each.what, each.host, each.came_to, each.who) for each in timeline(entries)]
    began = f"{entries[0].at:%F}" if entries else "at"
    print_table((f"{began} (UTC)", "what", "host", "came to", "who"), lines)
    if pending is not None:
        print_markdown(pending.evidence)
        show_gate(pending, found)


def cancel(wanted: str, as_json: bool) -> None:
    session = open_session()
    found = session.runs.find(wanted)
    session.note_cancel(found, login())
    now = session.runs.cancel(found)
    if as_json:
        print_json({"run": now})
    elif now.final:
        tell(f"{now.name}: {now.state}; nothing was undone by that")
        for line in session.stopped_on_hosts(now):
            tell(line)
        session.tell_way_back(now)
    else:
        tell(f"{now.name} is {now.state} still; look at it with: runbook status {now.id[:8]}")
    raise typer.Exit(COMPLETED if now.state_type == "CANCELLED" else FAILED)


def undo(wanted: str, how: How) -> None:
    session = open_session()
    found = session.runs.find(wanted)
    undo_id = entry_of(found.runbook).undo
    if undo_id is None:
        raise UsageRefused(f"runbook {found.runbook} has no undo; its page says the way back")
    if not found.final:
        raise UsageRefused(
            f"run {found.id[:8]} is {found.state} and has not ended: answer its gate, or "
            f"`runbook cancel {found.id[:8]}`, before you undo it"
        )
    # Hosts that the run did without are off still, and may not be forgotten by its undo.
    known = session.journal.run_ids(found.id)
    off = session.journal.run(found.id).parameters.get("powered_off") if known else None
    pairs = [f"cluster={found.cluster}", f"run_id={found.id}"]
    start(session, undo_id, [*pairs, *([f"powered_off={off}"] if off else [])], how)


def told_ready(home: Path, record: ServerRecord, as_json: bool) -> None:
    place = Place(home.absolute())
    if as_json:
        print_json({"server": record, "credentials_file": place.credentials})
        return
    credentials(place)
    out.print(f"serving at {record.ui_url}", markup=False)
    tell(f"the UI asks for the line in {place.credentials}; stop with: runbook serve --stop")


def told_stopped(home: Path, was_running: bool, as_json: bool) -> None:
    if as_json:
        print_json({"stopped": was_running})
    else:
        tell("stopped" if was_running else f"nothing was running for {home}")
