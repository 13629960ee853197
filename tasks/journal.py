"""The journal: what a run intends and what came of it, appended, never changed.

Every look, check, change, wait and gate of a run writes its intent before and its outcome
after. A run that is entered again answers from here and repeats nothing. Entries of one run
carry the attempt that wrote them; once a newer attempt has been opened, the older one is
refused (`Superseded`), so that a process that was taken for dead cannot go on beside its
successor.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, make_url, select
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from tasks.journal_records import (
    NO_ATTEMPT,
    AlreadyRecorded,
    Draft,
    Entry,
    JournalError,
    Kind,
    Phase,
    Run,
    Superseded,
    UnknownRun,
    entry_of,
    entry_row,
    run_of,
    run_row,
)
from tasks.journal_tables import Base, EntryRow, HeadRow, RunRow

__all__ = [
    "NO_ATTEMPT",
    "AlreadyRecorded",
    "Draft",
    "Entry",
    "Journal",
    "JournalError",
    "Kind",
    "Phase",
    "Run",
    "Superseded",
    "UnknownRun",
]

BUSY_TIMEOUT_SECONDS = 30


class Journal:
    """The store of runs and entries behind a SQLAlchemy URL (SQLite or PostgreSQL)."""

    def __init__(self, url: str) -> None:
        """Open the journal, making its tables if it is new."""
        engine = _engine(url)
        writer = engine.execution_options(writes=True)
        self._sessions = sessionmaker(engine)
        self._writes = sessionmaker(writer)
        with writer.begin() as connection:
            Base.metadata.create_all(connection)
        with self.transaction() as session:
            if session.get(HeadRow, 1) is None:
                session.add(HeadRow(id=1, seq=0))

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a transaction that no other writer can interleave with."""
        with self._writes.begin() as session:
            session.execute(select(HeadRow).with_for_update()).first()
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that only reads."""
        with self._sessions() as session:
            yield session

    def open_run(self, run: Run) -> Run:
        """Make the run known if it is not, and open its next attempt: earlier ones are fenced."""
        with self.transaction() as session:
            row = session.get(RunRow, run.run_id)
            if row is None:
                row = run_row(run)
                session.add(row)
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
                    payload={"parameters": dict(run.parameters)},
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
        if draft.attempt not in (NO_ATTEMPT, run.attempt):
            raise Superseded(
                f"run {draft.run_id}: attempt {draft.attempt} was superseded by attempt"
                f" {run.attempt}; this process must stop"
            )
        head = session.get_one(HeadRow, 1)
        head.seq += 1
        row = entry_row(draft, head.seq, run.cluster)
        session.add(row)
        try:
            session.flush()
        except IntegrityError as error:
            raise AlreadyRecorded(
                f"run {draft.run_id}: {draft.kind.value} `{draft.step}` has its"
                f" {draft.phase.value} already"
            ) from error
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

    def runs(self, cluster: str | None = None, limit: int = 100) -> list[Run]:
        """Return the last runs, newest first, of one cluster or of all."""
        wanted = select(RunRow).order_by(RunRow.started_at.desc()).limit(limit)
        if cluster is not None:
            wanted = wanted.where(RunRow.cluster == cluster)
        with self.reading() as session:
            return [run_of(row) for row in session.scalars(wanted)]


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # SQLAlchemy, not the driver, begins transactions: see its page on pysqlite.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # IMMEDIATE takes the write lock first: a reader that turns writer would fail at once.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
