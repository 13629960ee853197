"""A gate that waits, and signed answers to it."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tasks.deciding import Signed, decide, statement_for
from tasks.decisions import Decision, PendingGate, approvals, pending_gates
from tasks.env import World, use_world
from tasks.gates import AnswerRefused, GateForm, gate
from tasks.journal import Draft, Entry, Journal, Kind, Phase
from tasks.policy import Policy, Rules
from tasks.runs import entered_run
from tests.tasks.signing import Person, now

SIGNED = Rules(accept_unverified=False)
TWO = Rules(accept_unverified=False, approvals=2)


class ScopeForm(GateForm):
    scope: Literal["one", "all"] = "one"


class GaveUp(Exception):
    """The test does not answer a second time."""


def under(world: World, rules: Rules, signers: Path) -> World:
    return replace(world, policy=Policy({"A2": rules}, Path("policy.toml"), signers))


def form_of(person: Person, **more: Any) -> dict[str, Any]:
    return {"decision": "approve", "approver": person.name, "reason": "ticket 7", **more}


def signed(
    pending: PendingGate, person: Person, at: str | None = None, **more: Any
) -> dict[str, Any]:
    """Return the arguments of `decide` for a person's signed answer."""
    form = form_of(person, **more)
    when = at or now()
    return said(form, Signed(when, person.signs(statement_for(pending, form, when))))


def said(form: dict[str, Any], proof: Signed | None) -> dict[str, Any]:
    fields = {k: v for k, v in form.items() if k not in ("decision", "approver", "reason")}
    common = {k: form[k] for k in ("decision", "approver", "reason")}
    return {**common, "via": "command", "fields": fields, "signed": proof}


def passed(
    world: World, act: Callable[[PendingGate], object], run_id: str = "r1", **more: Any
) -> Decision:
    """Run a gate; at its first ask do something from outside, at the second give up."""
    calls: list[str] = []

    def ask(name: str, question: object) -> dict[str, Any]:
        if calls:
            raise GaveUp
        calls.append(name)
        act(pending_gates(world.journal, run_id)[0])
        return {}

    parameters = {"cluster": "lab"}
    with (
        use_world(replace(world, ask=ask)),
        entered_run("rb", parameters=parameters, run_id=run_id, mutates=False),
    ):
        return gate("go", risk="A2", **{"evidence": "Go?", "form": ScopeForm, **more})


def open_gate(world: World, run_id: str = "r1", **more: Any) -> PendingGate:
    """Return a gate that waits, its run's process being gone."""
    found: list[PendingGate] = []
    with pytest.raises(GaveUp):
        passed(world, found.append, run_id, **more)
    reopen(world.journal, run_id)
    return pending_gates(world.journal, run_id)[0]


def reopen(journal: Journal, run_id: str) -> None:
    """Wait at the gate again: the failed attempt above has ended the run."""
    payload = {"ask": 9, "what": "asked"}
    journal.append(Draft(run_id, Kind.GATE, "go", Phase.NOTE, payload=payload))


def refused(world: World, pending: PendingGate, words: str, **arguments: Any) -> None:
    with pytest.raises(AnswerRefused, match=words):
        decide(world.journal, pending.run_id, "go", **arguments)
    assert not [e for e in world.journal.entries() if e.phase is Phase.DECISION]
    assert not approvals(world.journal, pending.run_id, "go")


def entries_of(journal: Journal) -> tuple[Entry, Entry]:
    entry = journal.find("r1", Kind.GATE, "go", Phase.DECISION)
    intent = journal.find("r1", Kind.GATE, "go", Phase.INTENT)
    assert entry is not None
    assert intent is not None
    return entry, intent


def alter(database: Path, column: str, value: Any, where: str) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TRIGGER journal_no_update")
        if isinstance(value, tuple):
            new, arguments = f"replace({column}, ?, ?)", value
        else:
            new, arguments = "?", (value,)
        sql = f"UPDATE journal_entries SET {column} = {new} WHERE kind = 'gate' AND {where}"
        assert connection.execute(sql, arguments).rowcount == 1


class AtOnce:
    """Let something happen between a decider's look at the others and his own entry."""

    def __init__(self, journal: Journal, meanwhile: Callable[[], object]) -> None:
        self.journal, self.meanwhile = journal, meanwhile

    def __enter__(self) -> None:
        self.append = self.journal.append

        def append(draft: Draft, *rest: Any) -> Entry:
            self.journal.append = self.append  # type: ignore[method-assign]
            self.meanwhile()
            return self.append(draft, *rest)

        self.journal.append = append  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        self.journal.append = self.append  # type: ignore[method-assign]
