"""The sweep gives a run its end in the journal: each time it ends, and never while it goes on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from flows.api import Api
from flows.journal_sweep import JournalSweep
from tasks.env import SystemClock, World, use_world
from tasks.inventory import Inventory
from tasks.journal import Journal, Kind, Phase, Run

RUN = Run("r1", "rb", "lab", {}, "ann", "prefect", datetime(2026, 11, 22, tzinfo=UTC), attempt=0)


@dataclass
class FakeServer:
    """A server with one run."""

    state: str = "RUNNING"
    changes: int = 0
    after_listing: Callable[[], None] = field(default=lambda: None)

    def become(self, state: str) -> None:
        self.state, self.changes = state, self.changes + 1

    def runs(self, states: tuple[str, ...], _tag: str) -> list[dict[str, Any]]:
        found = [self.get("")] if self.state in states else []
        if found:
            self.after_listing()
        return found

    def get(self, _path: str) -> dict[str, Any]:
        state = {"id": f"s{self.changes}", "message": "by hand"}
        return {"id": "r1", "state_type": self.state, "state_name": self.state, "state": state}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(f"sqlite:///{tmp_path / 'journal.db'}")


@pytest.fixture
def sweep(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Iterator[JournalSweep]:
    monkeypatch.setattr("flows.journal_sweep.expire_gates", list)
    put = World(
        shells=lambda cluster, host: (_ for _ in ()).throw(LookupError(host)),
        journal=journal,
        inventory=Inventory.parse(INVENTORY, "inventory.toml"),
        clock=SystemClock(),
    )
    with use_world(put):
        yield JournalSweep(cast(Api, FakeServer()), journal)


INVENTORY = """
[clusters.lab]
ssh = { key_file = "k", known_hosts = "h" }
hosts = [{ name = "h1", address = "127.0.0.1", host_id = 1 }]
"""


def server_of(sweep: JournalSweep) -> FakeServer:
    return cast(FakeServer, sweep.api)


def marks(journal: Journal) -> list[Phase]:
    return [entry.phase for entry in journal.entries("r1") if entry.kind is Kind.RUN]


def test_a_run_that_is_retried_ends_again(sweep: JournalSweep, journal: Journal) -> None:
    for _ in range(2):
        server_of(sweep).become("RUNNING")
        journal.open_run(RUN)
        server_of(sweep).become("CANCELLED")
        for _ in range(2):
            sweep.once()
    # The sweep enters a cancelled run once more to end it.
    assert marks(journal) == [Phase.ATTEMPT, Phase.ATTEMPT, Phase.ENDED] * 2


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_a_run_that_is_retried_meanwhile_has_not_ended(
    sweep: JournalSweep, journal: Journal, state: str
) -> None:
    server = server_of(sweep)
    server.become(state)

    def retried() -> None:
        if server.state == state:
            server.become("RUNNING")
            journal.open_run(RUN)

    server.after_listing = retried
    sweep.once()
    assert marks(journal) == [Phase.ATTEMPT]
