"""What is known of a lock's holder: what a person must see before he breaks the lock."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from tasks.decisions import pending_gates
from tasks.env import ShellError, world
from tasks.hosts import host_names
from tasks.journal import Entry, Journal, Kind, Phase
from tasks.lease_records import leases_in
from tasks.lock import Holder
from tasks.step_remote import Step, state_now
from tasks.timeline import timeline

ENTRIES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class HolderEvidence:
    """What is known of a lock's holder; it may be of some time ago when it is read."""

    last_seq: int  # of its last entry
    last_entry_at: str
    latest: tuple[str, ...]
    waits_at: str  # a gate, or nothing
    prefect: str
    steps: tuple[str, ...]  # remote steps whose end is unknown, and how each is now
    leases: tuple[str, ...]


def break_evidence(held: Holder, evidence: HolderEvidence) -> str:
    """Return what a person must see before a lock is broken, in Markdown."""
    running = "**It may be alive.** A run that does nothing wrong is not to be broken:"
    return "\n".join(
        [
            f"## Break the lock of {held.cluster}\n",
            f"- held by run `{held.run_id}`, runbook {held.runbook}",
            f"- started by {held.actor or 'unknown'}, since {held.since:%F %T} UTC",
            f"- control node {held.node or 'unknown'}",
            f"- Prefect says: {evidence.prefect}",
            f"- waits at a gate: {evidence.waits_at or 'no'}",
            f"- its last entry: {evidence.last_seq}, {evidence.last_entry_at} UTC",
            *(f"- {line}" for line in evidence.leases),
            "\n### Its steps on the hosts whose end is unknown\n",
            *([f"- {line}" for line in evidence.steps] or ["None."]),
            "\n### Its latest entries\n",
            "```",
            *evidence.latest,
            "```",
            f"\n{running} answer its gate, or `runbook cancel {held.run_id[:8]}`.\n",
            "### What is done\n",
            "- The run ends in the journal as `lock broken`: its process, should it live, is",
            "  refused its next entry and stops; it can never be entered again.",
            "- Prefect is told that it is cancelled. A step that still runs on a host is left",
            "  alone; the next run refuses to begin while it does.",
            "- Nothing that it has changed is undone. There is no way back but a new run.\n",
            f"To approve, type the id of the run: `{held.run_id}`",
        ]
    )


def evidence_of(held: Holder) -> HolderEvidence:
    """Return what is known of a holder now."""
    journal = world().journal
    entries = journal.entries(held.run_id)
    latest = [f"{x.at} {x.what} {x.host} {x.came_to} {x.who}" for x in timeline(entries)]
    gates = [pending.gate for pending in pending_gates(journal, held.run_id)]
    return HolderEvidence(
        last_seq=entries[-1].seq,
        last_entry_at=f"{entries[-1].at:%F %T}",
        latest=tuple(line.rstrip() for line in latest[-ENTRIES_SHOWN:]),
        waits_at=", ".join(gates),
        prefect=_prefect_says(held.run_id),
        steps=tuple(step_lines(held, entries)),
        leases=tuple(lease_lines(journal, held.cluster)),
    )


def lease_lines(journal: Journal, cluster: str) -> Iterator[str]:
    """Yield the open leases of a cluster as lines."""
    for lease in leases_in(journal, world().clock.now(), cluster):
        late = ", overdue" if lease.overdue else ""
        yield (
            f"global maintenance: set by run {lease.run_id} ({lease.reason}), to be left by"
            f" {lease.deadline:%F %T} UTC{late}"
        )


def step_lines(held: Holder, entries: list[Entry]) -> Iterator[str]:
    """Yield the remote steps of a run whose end is unknown, and how each is now."""
    remote = [entry for entry in entries if entry.kind is Kind.REMOTE]
    ended = {entry.step for entry in remote if entry.phase is Phase.OUTCOME}
    begun = {entry.step: entry for entry in remote if entry.phase is Phase.INTENT}
    for step, intent in begun.items():
        if step not in ended:
            yield f"step {step}: {_state(held, intent)}"


def _state(held: Holder, intent: Entry) -> str:
    if intent.host not in host_names(held.cluster):
        return "its host is not in the inventory any more"
    shell = world().shell(held.cluster, intent.host)
    name = intent.step.removesuffix(f"@{intent.host}")
    try:
        return state_now(Step(shell, name, (), held.run_id, world().step_store))
    except ShellError as error:
        return f"unknown, as its host cannot be asked: {error}"


def prefect_id(run_id: str) -> UUID | None:
    """Return the id of a run of Prefect's, or None: runs of tests and scripts have others."""
    try:
        return UUID(run_id)
    except ValueError:
        return None


def _prefect_says(run_id: str) -> str:
    known = prefect_id(run_id)
    if known is None:
        return "it is no run of Prefect's"
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(known).state
        except ObjectNotFound:
            return "it does not know the run (deleted)"
    if state is None:
        return "it has no state"
    since = datetime.now(UTC) - state.timestamp
    return f"{state.name}, for {int(since.total_seconds() // 60)} min: {state.message or '-'}"
