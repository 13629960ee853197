"""Where the journal is kept: the database's connections, and its tables made or taken over.

A journal of an earlier version, whose entries have no hashes, is taken over when it is opened:
one entry (kind `journal`, phase `sealed`) says up to where they go and what hash their chain
has, computed now; the chain goes on from there. The old entries themselves stay as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import create_engine, event, func, make_url, select, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from tasks.journal_chain import canonical, chained, columns_of, genesis, link
from tasks.journal_records import JournalError, Kind, Phase
from tasks.journal_tables import Base, EntryRow, HeadRow, IdentityRow, make_guards

BUSY_TIMEOUT_SECONDS = 30.0
IDLE_TIMEOUT_SECONDS = 120.0  # a client that hangs in a transaction gives the head free again
OPENING = 7_305_461_902  # PostgreSQL's advisory lock of those who make or take over the tables


class JournalUnavailable(JournalError):
    """The database cannot be read or written now; nothing was written."""


def engine_of(url: str, busy_timeout_seconds: float) -> Engine:
    """Return the engine of a SQLAlchemy URL (SQLite or PostgreSQL with psycopg)."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        options = (
            f"-c lock_timeout={int(busy_timeout_seconds * 1000)}"
            f" -c idle_in_transaction_session_timeout={int(IDLE_TIMEOUT_SECONDS * 1000)}"
        )
        return create_engine(parsed, pool_pre_ping=True, connect_args={"options": options})
    if parsed.database:
        Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": busy_timeout_seconds})

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


@contextmanager
def told_plainly(engine: Engine, busy_timeout_seconds: float) -> Iterator[None]:
    """Turn the database's own trouble within the block into JournalUnavailable."""
    try:
        yield
    except OperationalError as error:
        place = engine.url.render_as_string(hide_password=True)
        said = str(error.orig).strip().splitlines()[0]
        locked = "locked" in said or "lock timeout" in said
        remedy = (
            f"another process has held it for {busy_timeout_seconds:g} s: find it"
            f" ({_finder(engine)}) and end what hangs"
            if locked
            else "see that the database is up, has space and lets this user write"
        )
        raise JournalUnavailable(
            f"the journal {place} does not answer: {said}. Nothing was written. What to do:"
            f" {remedy}, then start or retry the run; it goes on where its journal ends"
        ) from error


def _finder(engine: Engine) -> str:
    if engine.dialect.name == "sqlite":
        return f"fuser -v {engine.url.database}"
    return "SELECT * FROM pg_stat_activity WHERE state LIKE 'idle in%'"


def open_tables(engine: Engine, now: datetime) -> None:
    """Make the tables of a new journal, or take over one of an earlier version."""
    with engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            # CREATE TABLE of two at once fails there even with IF NOT EXISTS.
            connection.execute(text(f"SELECT pg_advisory_xact_lock({OPENING})"))
        Base.metadata.create_all(connection)
        with Session(connection) as session:
            if session.get(IdentityRow, 1) is None:
                _begin_chain(session, now)
                session.flush()
                make_guards(connection)
            session.commit()


def _begin_chain(session: Session, now: datetime) -> None:
    journal_id = uuid4().hex
    session.add(IdentityRow(id=1, journal_id=journal_id))
    head = session.get(HeadRow, 1, with_for_update=True)
    if head is None:
        head = HeadRow(id=1, seq=0)
        session.add(head)
    head.hash = genesis(journal_id)
    if session.scalar(select(func.count(EntryRow.hash))):
        raise JournalError(
            "the journal's entries have hashes, but its identity is gone: somebody else changed it."
            " Nothing was written; restore the table journal_identity from a copy"
        )
    if head.seq:
        _seal(session, head, now)


def _seal(session: Session, head: HeadRow, now: datetime) -> None:
    earlier = select(EntryRow).order_by(EntryRow.seq).execution_options(yield_per=1000)
    count = session.scalar(select(func.count()).select_from(EntryRow))
    digest = chained(genesis_of(session), session.scalars(earlier))
    payload = {"entries": count, "last_seq": head.seq, "sha256": digest}
    head.seq += 1
    row = EntryRow(
        seq=head.seq,
        run_id="",
        attempt=0,
        at=now.isoformat(timespec="microseconds"),
        kind=Kind.JOURNAL.value,
        step="entries without hashes",
        phase=Phase.SEALED.value,
        cluster="",
        host="",
        actor="",
        via="opening",
        payload=canonical(payload),
        prev_hash=digest,
        signature=None,
    )
    row.hash = head.hash = link(digest, columns_of(row))
    session.add(row)


def genesis_of(session: Session) -> str:
    """Return what the first entry of this journal follows."""
    return genesis(session.get_one(IdentityRow, 1).journal_id)


def utc_now() -> datetime:
    """Return this machine's wall time, in UTC."""
    return datetime.now(UTC)
