"""What the journal holds every append to: the attempt in force, one outcome, an unbroken run."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tasks.journal_records import (
    NO_ATTEMPT,
    AlreadyRecorded,
    Draft,
    JournalError,
    Kind,
    LockBroken,
    Phase,
    RunOver,
    Superseded,
    entry_of,
)
from tasks.journal_tables import EntryRow, RunRow

RELEASE_LEASE = "release_lease"  # the step in which a failed run leaves global maintenance
LOCK_BROKEN = "lock broken"  # how a run ended whose lock another one has broken


def require_in_force(run: RunRow, draft: Draft) -> None:
    """Refuse an entry of an attempt that a newer one has followed. Raises: Superseded."""
    if draft.attempt not in (NO_ATTEMPT, run.attempt):
        raise Superseded(
            f"run {draft.run_id}: attempt {draft.attempt} was superseded by attempt"
            f" {run.attempt}; this process must stop"
        )


def require_not_over(session: Session, run_id: str) -> None:
    """Refuse to enter a run again that lost its lock to another one, or undid its first step.

    Who has left global maintenance at the end of a failed attempt would go on without it, as the
    step that entered it answers from the journal. Raises: LockBroken, RunOver.
    """
    left = select(EntryRow.seq).filter_by(run_id=run_id, kind=Kind.CHANGE.value, step=RELEASE_LEASE)
    if session.scalars(left.limit(1)).first() is not None:
        raise RunOver(
            f"run {run_id}: when it failed it left global maintenance again, so it cannot go on"
            " from there; it had changed nothing else: start a new run"
        )
    ended = session.scalars(
        select(EntryRow)
        .filter_by(run_id=run_id, kind=Kind.RUN.value, phase=Phase.ENDED.value)
        .order_by(EntryRow.seq.desc())
        .limit(1)
    ).first()
    was = {} if ended is None else entry_of(ended).payload
    if was.get("as") == LOCK_BROKEN:
        raise LockBroken(
            f"run {run_id}: its lock was broken ({was.get('why', '')}), so it cannot go on; look"
            " at what it left (runbook audit show), then start a new run"
        )


def refused(draft: Draft, seq: int, error: IntegrityError) -> JournalError:
    """Return why the database did not take an entry."""
    said = str(error.orig)
    if "journal_entries.seq" in said or "journal_entries_pkey" in said:
        return JournalError(
            f"the journal has an entry {seq} that its head does not know of: somebody else wrote"
            " to it. Nothing was written. What to do: runbook audit verify"
        )
    return AlreadyRecorded(
        f"run {draft.run_id}: {draft.kind.value} `{draft.step}` has its {draft.phase.value} already"
    )
