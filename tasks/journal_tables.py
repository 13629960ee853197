"""The journal's tables (SQLAlchemy): runs, entries, and the head that makes entries one line.

Text, not native JSON or date types, holds payloads and times: an entry's bytes are then the
same in SQLite and PostgreSQL, which is what its hash is taken over.
"""

from sqlalchemy import DDL, Index, Integer, String, Text, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The journal's tables."""


class HeadRow(Base):
    """One row: the last entry's seq. Locked by every append, so seq has no gaps."""

    __tablename__ = "journal_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    seq: Mapped[int]
    hash: Mapped[str | None] = mapped_column(String(64))  # of that entry; reserved, see EntryRow


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

    Reserved, NULL until the audit trail is built: `prev_hash`, the hash of the entry before;
    `hash`, SHA-256 over `prev_hash` and the canonical JSON of all columns up to `payload`;
    `signature`, the approver's over a decision.
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

for _verb in ("UPDATE", "DELETE"):
    event.listen(
        EntryRow.__table__,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy 2.1 leaves it so
            f"CREATE TRIGGER journal_no_{_verb.lower()} BEFORE {_verb} ON journal_entries "
            "BEGIN SELECT RAISE(ABORT, 'journal entries are never changed or deleted'); END"
        ).execute_if(dialect="sqlite"),
    )
