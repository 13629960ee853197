"""The journal: what a run intends and what came of it, appended, never changed.

Every look, check, change, wait and gate of a run writes its intent before and its outcome
after. A run that is entered again answers from here and repeats nothing. Each entry carries the
hash of the one before it (tasks/journal_chain.py). Entries of one run
carry the attempt that wrote them; once a newer attempt has been opened, the older one is
refused (`Superseded`), so that a process that was taken for dead cannot go on beside its
successor.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from tasks.journal_records import (
    NO_ATTEMPT,
    AlreadyRecorded,
    Draft,
    Entry,
    JournalError,
    Kind,
    LockBroken,
    Phase,
    Run,
    RunOver,
    Superseded,
    UnknownRun,
    entry_of,
    entry_row,
    run_of,
    run_row,
)
from tasks.journal_rules import refused, require_in_force, require_not_over
from tasks.journal_store import (
    BUSY_TIMEOUT_SECONDS,
    JournalUnavailable,
    engine_of,
    open_tables,
    told_plainly,
    utc_now,
)
from tasks.journal_tables import EntryRow, HeadRow, IdentityRow, RunRow

__all__ = [
    "NO_ATTEMPT",
    "AlreadyRecorded",
    "Draft",
    "Entry",
    "Journal",
    "JournalError",
    "JournalUnavailable",
    "Kind",
    "LockBroken",
    "Phase",
    "Run",
    "RunOver",
    "Superseded",
    "UnknownRun",
]


class Journal:
    """The store of runs and entries behind a SQLAlchemy URL (SQLite or PostgreSQL)."""

    def __init__(
        self,
        url: str,
        *,
        busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Open the journal, making its tables if it is new, or taking over an earlier version's.

        Raises: JournalUnavailable, as every other method does.
        """
        self.engine = engine_of(url, busy_timeout_seconds)
        self._busy_timeout_seconds = busy_timeout_seconds
        self._now = now
        self._sessions = sessionmaker(self.engine)
        self._writes = sessionmaker(self.engine.execution_options(writes=True))
        with told_plainly(self.engine, busy_timeout_seconds):
            open_tables(self.engine, now())

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a transaction that no other writer can interleave with."""
        with (
            told_plainly(self.engine, self._busy_timeout_seconds),
            self._writes.begin() as session,
        ):
            session.execute(select(HeadRow).with_for_update()).first()
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that only reads, and sees one moment."""
        with told_plainly(self.engine, self._busy_timeout_seconds), self._sessions() as session:
            yield session

    def journal_id(self) -> str:
        """Return this journal's id."""
        with self.reading() as session:
            return session.get_one(IdentityRow, 1).journal_id

    def head(self) -> tuple[int, str]:
        """Return the last entry's seq and hash; 0 and what the first will follow if none is."""
        with self.reading() as session:
            head = session.get_one(HeadRow, 1)
            return head.seq, head.hash or ""

    def open_run(self, run: Run) -> Run:
        """Make the run known if it is not, and open its next attempt: earlier ones are fenced.

        Raises: RunOver, LockBroken.
        """
        with self.transaction() as session:
            row = session.get(RunRow, run.run_id)
            if row is None:
                row = run_row(run)
                session.add(row)
            require_not_over(session, run.run_id)
            row.attempt += 1
            session.flush()
            self.append_in(
                session,
                Draft(
                    run.run_id,
                    Kind.RUN,
                    run.runbook,
                    Phase.ATTEMPT,
                    attempt=row.attempt,
                    actor=run.actor,
                    via=run.via,
                    payload={
                        "parameters": dict(run.parameters),
                        "started_at": run.started_at.isoformat(timespec="microseconds"),
                    },
                ),
            )
            return run_of(row)

    def append(self, draft: Draft, guard: Callable[[Session], None] | None = None) -> Entry:
        """Append an entry; `guard` is asked in the same transaction and refuses by raising.

        Raises: Superseded, AlreadyRecorded, UnknownRun.
        """
        with self.transaction() as session:
            if guard is not None:
                guard(session)
            return self.append_in(session, draft)

    def append_in(self, session: Session, draft: Draft) -> Entry:
        """Append an entry within a transaction of this journal."""
        run = session.get(RunRow, draft.run_id)
        if run is None:
            raise UnknownRun(f"the journal has no run {draft.run_id}")
        require_in_force(run, draft)
        head = session.get_one(HeadRow, 1)
        row = entry_row(
            draft, head.seq + 1, run.cluster, prev_hash=head.hash or "", now=self._now()
        )
        head.seq, head.hash = row.seq, row.hash
        session.add(row)
        try:
            session.flush()
        except IntegrityError as error:
            raise refused(draft, row.seq, error) from error
        return entry_of(row)

    def find(self, run_id: str, kind: Kind, step: str, phase: Phase) -> Entry | None:
        """Return the last entry of this run, kind, step and phase, if there is one."""
        wanted = (
            select(EntryRow)
            .filter_by(run_id=run_id, kind=kind.value, step=step, phase=phase.value)
            .order_by(EntryRow.seq.desc())
            .limit(1)
        )
        with self.reading() as session:
            row = session.scalars(wanted).first()
            return None if row is None else entry_of(row)

    def entries(
        self, run_id: str | None = None, after_seq: int = 0, kinds: Collection[Kind] = ()
    ) -> list[Entry]:
        """Return the entries after a seq, of one run or of all, of some kinds or all, in order."""
        wanted = select(EntryRow).where(EntryRow.seq > after_seq).order_by(EntryRow.seq)
        if run_id is not None:
            wanted = wanted.where(EntryRow.run_id == run_id)
        if kinds:
            wanted = wanted.where(EntryRow.kind.in_([kind.value for kind in kinds]))
        with self.reading() as session:
            return [entry_of(row) for row in session.scalars(wanted)]

    def run(self, run_id: str) -> Run:
        """Return a run. Raises: UnknownRun."""
        with self.reading() as session:
            row = session.get(RunRow, run_id)
            if row is None:
                raise UnknownRun(f"the journal has no run {run_id}")
            return run_of(row)

    def runs(
        self, cluster: str | None = None, limit: int = 100, *, that: Kind | None = None
    ) -> list[Run]:
        """Return the last runs, newest first, of one cluster or of all.

        With `that`, only runs that have an entry of this kind: a schedule's runs that only look
        are many, and would push the others out of the last ones.
        """
        # By what the journal saw first, not by the clock: that may have been put back.
        began = (
            select(EntryRow.run_id, func.min(EntryRow.seq).label("seq"))
            .where(EntryRow.kind == Kind.RUN.value, EntryRow.phase == Phase.ATTEMPT.value)
            .group_by(EntryRow.run_id)
            .subquery()
        )
        wanted = (
            select(RunRow)
            .join(began, began.c.run_id == RunRow.run_id)
            .order_by(began.c.seq.desc())
            .limit(limit)
        )
        if cluster is not None:
            wanted = wanted.where(RunRow.cluster == cluster)
        if that is not None:
            having = select(EntryRow.run_id).where(EntryRow.kind == that.value)
            if cluster is not None:
                having = having.where(EntryRow.cluster == cluster)
            wanted = wanted.where(RunRow.run_id.in_(having))
        with self.reading() as session:
            return [run_of(row) for row in session.scalars(wanted)]

    def run_ids(self, start: str) -> list[str]:
        """Return the ids of all runs that begin so."""
        wanted = select(RunRow.run_id).where(RunRow.run_id.startswith(start, autoescape=True))
        with self.reading() as session:
            return list(session.scalars(wanted))
