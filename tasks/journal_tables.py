"""The journal's tables (SQLAlchemy): runs, entries, and the head that makes entries one line.

Text, not native JSON or date types, holds payloads and times: an entry's bytes are then the
same in SQLite and PostgreSQL, which is what its hash is taken over.
"""

from sqlalchemy import Connection, Index, Integer, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The journal's tables."""


class IdentityRow(Base):
    """One row: which journal this is; random, made with the journal."""

    __tablename__ = "journal_identity"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    journal_id: Mapped[str] = mapped_column(String(32))


class HeadRow(Base):
    """One row: the last entry's seq and hash. Locked by every append, so seq has no gaps."""

    __tablename__ = "journal_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    seq: Mapped[int]
    hash: Mapped[str | None] = mapped_column(String(64))  # NULL in a journal of an earlier version


class RunRow(Base):
    """One run of a runbook; what became of it is in its entries."""

    __tablename__ = "journal_runs"

    run_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    runbook: Mapped[str] = mapped_column(String(64))
    cluster: Mapped[str] = mapped_column(String(64), index=True)
    parameters: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(128))
    via: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[str] = mapped_column(String(32))
    attempt: Mapped[int]  # the one in force: entries of an earlier one are refused


class EntryRow(Base):
    """One entry; never changed, never deleted (triggers below).

    `prev_hash` and `hash` make the chain (tasks/journal_chain.py); they are NULL only in entries
    of an earlier version, which one later entry seals. `signature` is the approver's.
    """

    __tablename__ = "journal_entries"

    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    run_id: Mapped[str] = mapped_column(String(64), index=True)
    attempt: Mapped[int]
    at: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))
    step: Mapped[str] = mapped_column(String(200))
    phase: Mapped[str] = mapped_column(String(16))
    cluster: Mapped[str] = mapped_column(String(64))
    host: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(128))
    via: Mapped[str] = mapped_column(String(32))
    payload: Mapped[str] = mapped_column(Text)
    prev_hash: Mapped[str | None] = mapped_column(String(64))
    hash: Mapped[str | None] = mapped_column(String(64))
    signature: Mapped[str | None] = mapped_column(Text)


def _once_a_run(phase: str) -> Index:
    where = text(f"phase = '{phase}'")
    return Index(
        f"journal_one_{phase}",
        EntryRow.run_id,
        EntryRow.kind,
        EntryRow.step,
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )


BY_KIND = Index("journal_by_kind", EntryRow.kind, EntryRow.cluster, EntryRow.seq)
ONE_OUTCOME = _once_a_run("outcome")
ONE_DECISION = _once_a_run("decision")

NEVER = "journal entries are never changed or deleted"
UNHASHED = "an entry without a hash: this journal is kept by a newer version of the program"
GUARDS = {
    "sqlite": {
        "journal_no_update": f"BEFORE UPDATE ON journal_entries"
        f" BEGIN SELECT RAISE(ABORT, '{NEVER}'); END",
        "journal_no_delete": f"BEFORE DELETE ON journal_entries"
        f" BEGIN SELECT RAISE(ABORT, '{NEVER}'); END",
        "journal_only_hashed": f"BEFORE INSERT ON journal_entries WHEN NEW.hash IS NULL"
        f" BEGIN SELECT RAISE(ABORT, '{UNHASHED}'); END",
    },
    "postgresql": {
        "journal_no_update": "BEFORE UPDATE OR DELETE ON journal_entries"
        " FOR EACH ROW EXECUTE FUNCTION journal_never()",
        "journal_no_truncate": "BEFORE TRUNCATE ON journal_entries"
        " FOR EACH STATEMENT EXECUTE FUNCTION journal_never()",
        "journal_only_hashed": "BEFORE INSERT ON journal_entries FOR EACH ROW"
        " WHEN (NEW.hash IS NULL) EXECUTE FUNCTION journal_unhashed()",
    },
}
FUNCTIONS = {"journal_never": NEVER, "journal_unhashed": UNHASHED}
STANDING = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    # A disabled trigger ('D') does not stand.
    "postgresql": "SELECT tgname FROM pg_trigger"
    " WHERE tgrelid = 'journal_entries'::regclass AND tgenabled <> 'D'",
}


def missing_guards(connection: Connection) -> tuple[str, ...]:
    """Return the triggers that keep entries append-only and are not there."""
    dialect = connection.dialect.name
    if dialect not in GUARDS:
        return ()
    standing = set(connection.execute(text(STANDING[dialect])).scalars())
    return tuple(name for name in GUARDS[dialect] if name not in standing)


def make_guards(connection: Connection) -> None:
    """Make the triggers that are missing."""
    missing = missing_guards(connection)
    if missing and connection.dialect.name == "postgresql":
        for name, said in FUNCTIONS.items():
            connection.exec_driver_sql(
                f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN RAISE EXCEPTION '{said}'; END $$"
            )
    for name in missing:
        connection.exec_driver_sql(f"CREATE TRIGGER {name} {GUARDS[connection.dialect.name][name]}")
