"""What somebody with the journal's file can do to it, and a journal to do it to."""

import sqlite3
from datetime import UTC, datetime

from tasks.audit_verify import Verdict, verify_journal
from tasks.journal import Draft, Journal, Kind, Phase, Run

LAST = 8  # the last entry of `fill`


def a_run(run_id: str, actor: str = "ann") -> Run:
    return Run(run_id, "zero", "lab", {"cluster": "lab"}, actor, "test", datetime.now(UTC), 0)


def fill(journal: Journal) -> Journal:
    """Write eight entries of two runs."""
    for run_id in ("r1", "r2"):
        attempt = journal.open_run(a_run(run_id)).attempt
        for step in ("a", "b"):
            payload = {"value": f"{run_id} {step} ü", "n": 1.5}
            journal.append(
                Draft(run_id, Kind.LOOK, step, Phase.OUTCOME, attempt=attempt, payload=payload)
            )
        journal.append(
            Draft(run_id, Kind.RUN, "zero", Phase.ENDED, attempt=attempt, payload={"as": "failed"})
        )
    assert verify_journal(journal).faults == ()
    return journal


TRIGGERS = ("journal_no_update", "journal_no_delete", "journal_only_hashed")


def tamper(raw: sqlite3.Connection, *statements: str) -> None:
    """Do what somebody with the database's file can do, and leave the triggers as they were."""
    made = dict(raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    for name in TRIGGERS:
        raw.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        raw.execute(statement)
    for name in TRIGGERS:
        raw.execute(made[name])


def said(verdict: Verdict) -> list[str]:
    return [f"{fault.seq}: {fault.what}" for fault in verdict.faults]
