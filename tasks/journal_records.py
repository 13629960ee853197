"""The journal's values: entries and runs, their kinds and phases, and the errors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tasks.journal_chain import canonical, columns_of, link
from tasks.journal_tables import EntryRow, RunRow
from tasks.redaction import redacted

PAYLOAD_BYTES_MAX = 1_048_576
NO_ATTEMPT = 0  # written from outside the run: an approver, an operator, a sweep


class JournalError(Exception):
    """The journal refused an entry or does not know a run."""


class Superseded(JournalError):
    """A newer attempt of this run has been opened: this process must stop."""


class AlreadyRecorded(JournalError):
    """The step already has an outcome, or the gate a decision."""


class UnknownRun(JournalError):
    """The journal has no run of this id."""


class RunOver(JournalError):
    """The run can never be entered again; a new one is to be started."""


class LockBroken(RunOver):
    """The cluster's lock was taken from this run by another one."""


class Kind(StrEnum):
    """What an entry is about."""

    JOURNAL = "journal"
    RUN = "run"
    LOCK = "lock"
    LEASE = "lease"
    GATE = "gate"
    LOOK = "look"
    CHECK = "check"
    CHANGE = "change"
    WAIT = "wait"
    REMOTE = "remote"


class Phase(StrEnum):
    """Where in the life of its subject an entry stands."""

    INTENT = "intent"
    OUTCOME = "outcome"
    FAILURE = "failure"
    DECISION = "decision"
    ATTEMPT = "attempt"
    ENDED = "ended"
    TAKEN = "taken"
    RELEASED = "released"
    NOTE = "note"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry to be appended."""

    run_id: str
    kind: Kind
    step: str
    phase: Phase
    attempt: int = NO_ATTEMPT
    host: str = ""
    actor: str = ""
    via: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it stands in the journal."""

    seq: int
    run_id: str
    attempt: int
    at: datetime
    kind: Kind
    step: str
    phase: Phase
    cluster: str
    host: str
    actor: str
    via: str
    payload: Mapping[str, Any]
    signature: str | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a runbook."""

    run_id: str
    runbook: str
    cluster: str
    parameters: Mapping[str, Any]
    actor: str
    via: str
    started_at: datetime
    attempt: int


def entry_row(draft: Draft, seq: int, cluster: str, *, prev_hash: str, now: datetime) -> EntryRow:
    """Return the row of a draft, secrets struck out. Raises: JournalError if it is too big."""
    payload = canonical(redacted(dict(draft.payload)))
    if len(payload.encode()) > PAYLOAD_BYTES_MAX:
        raise JournalError(f"`{draft.step}`: the payload is over {PAYLOAD_BYTES_MAX} bytes")
    row = EntryRow(
        seq=seq,
        run_id=draft.run_id,
        attempt=draft.attempt,
        at=now.isoformat(timespec="microseconds"),
        kind=draft.kind.value,
        step=draft.step,
        phase=draft.phase.value,
        cluster=cluster,
        host=draft.host,
        actor=redacted(draft.actor),
        via=draft.via,
        payload=payload,
        prev_hash=prev_hash,
        signature=draft.signature,
    )
    row.hash = link(prev_hash, columns_of(row))
    return row


def run_row(run: Run) -> RunRow:
    """Return the row of a run with no attempt yet."""
    return RunRow(
        run_id=run.run_id,
        runbook=run.runbook,
        cluster=run.cluster,
        parameters=canonical(redacted(dict(run.parameters))),
        actor=run.actor,
        via=run.via,
        started_at=run.started_at.isoformat(timespec="microseconds"),
        attempt=0,
    )


def entry_of(row: EntryRow) -> Entry:
    """Return the entry that a row holds."""
    return Entry(
        seq=row.seq,
        run_id=row.run_id,
        attempt=row.attempt,
        at=datetime.fromisoformat(row.at),
        kind=Kind(row.kind),
        step=row.step,
        phase=Phase(row.phase),
        cluster=row.cluster,
        host=row.host,
        actor=row.actor,
        via=row.via,
        payload=json.loads(row.payload),
        signature=row.signature,
        hash=row.hash,
    )


def run_of(row: RunRow) -> Run:
    """Return the run that a row holds."""
    return Run(
        run_id=row.run_id,
        runbook=row.runbook,
        cluster=row.cluster,
        parameters=json.loads(row.parameters),
        actor=row.actor,
        via=row.via,
        started_at=datetime.fromisoformat(row.started_at),
        attempt=row.attempt,
    )
