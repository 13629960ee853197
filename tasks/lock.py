"""The cluster lock: one mutating run a cluster, by journal entries in one transaction.

It is held across gates and crashes, and by one run only, however many workers on however many
machines share the journal. It is taken over only from a run that has ended, or that the caller
knows to be over (terminal in Prefect), or by `break_lock`, which only the runbook break-lock
does, after its gate: all are recorded with the entry.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tasks.journal import Draft, Entry, Journal, JournalError, Kind, Phase
from tasks.journal_records import entry_of
from tasks.journal_rules import LOCK_BROKEN
from tasks.journal_tables import EntryRow, RunRow

BREAK_LOCK = "break-lock"  # the runbook


class ClusterLocked(JournalError):
    """Another run holds the cluster; the message names it and says what to do."""


class LockNotHeld(JournalError):
    """A change was about to be made by a run that does not hold the cluster's lock."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a cluster."""

    cluster: str
    run_id: str
    runbook: str
    actor: str
    since: datetime
    ended: bool
    node: str  # the machine of the process that took it
    seq: int  # of the entry by which it was taken


def acquire(
    journal: Journal,
    run_id: str,
    *,
    attempt: int,
    actor: str = "",
    is_over: Callable[[str], bool] = lambda run_id: False,
) -> None:
    """Take the lock of the run's cluster; nothing is done if the run holds it already.

    `is_over(run_id)` tells whether a holder that has not ended can never go on.
    Raises: ClusterLocked, naming the holder; Superseded.
    """
    cluster = journal.run(run_id).cluster
    seen = holder(journal, cluster)
    # Asked outside the transaction, as it may go over the network; checked again inside.
    over = seen is not None and seen.run_id != run_id and not seen.ended and is_over(seen.run_id)
    with journal.transaction() as session:
        held = _holder_in(session, cluster)
        payload = {"node": control_node()}
        if held is not None and held.run_id == run_id:
            return
        if held is not None:
            known_over = over and seen is not None and seen.run_id == held.run_id
            if not (held.ended or known_over):
                raise ClusterLocked(_locked(held))
            why = "it had ended" if held.ended else "Prefect says that it is over"
            payload |= {"taken_over_from": held.run_id, "because": why}
        journal.append_in(
            session,
            Draft(
                run_id,
                Kind.LOCK,
                cluster,
                Phase.TAKEN,
                attempt=attempt,
                actor=actor,
                payload=payload,
            ),
        )


def release(journal: Journal, run_id: str, *, attempt: int) -> None:
    """Give up the lock of the run's cluster, if the run holds it. Raises: Superseded."""
    cluster = journal.run(run_id).cluster
    with journal.transaction() as session:
        held = _holder_in(session, cluster)
        if held is None or held.run_id != run_id:
            return
        journal.append_in(
            session, Draft(run_id, Kind.LOCK, cluster, Phase.RELEASED, attempt=attempt)
        )


def holder(journal: Journal, cluster: str) -> Holder | None:
    """Return who holds a cluster, if anyone does."""
    with journal.reading() as session:
        return _holder_in(session, cluster)


def held_by(run_id: str) -> Callable[[Session], None]:
    """Return a guard for Journal.append: the run must hold its cluster's lock.

    The guard raises LockNotHeld.
    """

    def guard(session: Session) -> None:
        run = session.get(RunRow, run_id)
        if run is not None and run.runbook == BREAK_LOCK:
            return  # what it changes is the lock itself, and that in one transaction
        held = None if run is None else _holder_in(session, run.cluster)
        if held is None or held.run_id != run_id:
            who = "nobody does" if held is None else f"run {held.run_id} does"
            raise LockNotHeld(
                f"run {run_id} does not hold the cluster's lock ({who}): nothing was changed"
            )

    return guard


def control_node() -> str:
    """Return the name of this machine, as entries have it."""
    return socket.gethostname()


def break_lock(
    journal: Journal, run_id: str, seen: Holder, *, last_seq: int, attempt: int, why: str
) -> None:
    """Take a cluster's lock from a run that has not ended, and end that run for good.

    One transaction: the old run gets a new attempt that nobody has, so that its process can
    write no more; its end is recorded (`as` LOCK_BROKEN), so that it cannot be entered again;
    and this run has the lock. Nothing is done if this run has it already.
    `last_seq` is the old run's last entry as it was seen: if it has written since, it lives.
    Raises: ClusterLocked if the lock is not held any more as it was seen, or so; Superseded.
    """
    with journal.transaction() as session:
        held = _holder_in(session, seen.cluster)
        if held is not None and held.run_id == run_id:
            return
        last = session.scalar(select(func.max(EntryRow.seq)).filter_by(run_id=seen.run_id))
        if held is None or held.seq != seen.seq or last != last_seq:
            raise ClusterLocked(
                f"cluster {seen.cluster} is not held any more by run {seen.run_id} as it was shown,"
                " or that run has written since: nothing was broken; look again"
            )
        broken = session.get_one(RunRow, seen.run_id)
        broken.attempt += 1
        end = {"as": LOCK_BROKEN, "why": f"by run {run_id}: {why}"}
        taken = {"node": control_node(), "taken_over_from": seen.run_id, "because": LOCK_BROKEN}
        for draft in (
            Draft(
                seen.run_id,
                Kind.RUN,
                seen.runbook,
                Phase.ENDED,
                attempt=broken.attempt,
                payload=end,
            ),
            Draft(run_id, Kind.LOCK, seen.cluster, Phase.TAKEN, attempt=attempt, payload=taken),
        ):
            journal.append_in(session, draft)


def _holder_in(session: Session, cluster: str) -> Holder | None:
    last = session.scalars(
        select(EntryRow)
        .filter_by(kind=Kind.LOCK.value, cluster=cluster)
        .order_by(EntryRow.seq.desc())
        .limit(1)
    ).first()
    if last is None or last.phase == Phase.RELEASED.value:
        return None
    run = session.get_one(RunRow, last.run_id)
    taken: Entry = entry_of(last)
    return Holder(
        cluster=cluster,
        run_id=run.run_id,
        runbook=run.runbook,
        actor=run.actor,
        since=taken.at,
        ended=_ended(session, run.run_id),
        node=taken.payload.get("node", ""),
        seq=taken.seq,
    )


def _ended(session: Session, run_id: str) -> bool:
    last = session.scalars(
        select(EntryRow.phase)
        .where(
            EntryRow.run_id == run_id,
            EntryRow.kind == Kind.RUN.value,
            EntryRow.phase.in_([Phase.ATTEMPT.value, Phase.ENDED.value]),
        )
        .order_by(EntryRow.seq.desc())
        .limit(1)
    ).first()
    return last == Phase.ENDED.value


def _locked(held: Holder) -> str:
    return (
        f"cluster {held.cluster} is held by run {held.run_id} (runbook {held.runbook}, started by"
        f" {held.actor or 'unknown'}, since {held.since:%Y-%m-%d %H:%M:%S} UTC, control node"
        f" {held.node or 'unknown'}), which has not ended; finish it, answer its gate, or: runbook"
        f" cancel {held.run_id[:8]}. If nothing can end it: runbook run break-lock --cluster"
        f" {held.cluster}"
    )
