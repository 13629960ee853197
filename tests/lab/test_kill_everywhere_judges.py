"""What judges a run that was killed everywhere goes red when something was done twice."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.journal import Draft, Journal, Kind, Phase, Run
from tasks.journal_store import utc_now
from tests.lab.kill_everywhere import (
    STORE,
    Ordeal,
    require_attached,
    require_each_gate_decided_once,
    require_nothing_twice,
)
from tests.lab.watched_commands import LOG, WatchedCommands

STEP = "initialise_lockspace@h1"
GATE = "approve_lockspace_write"
WRITE = "sanlock direct init -s hosted-engine:0:/rhev/lockspace:0"
REISSUE = "hosted-engine --set-maintenance --mode=none"
SHUTDOWN = "hosted-engine --vm-shutdown"


@dataclass
class OneHost:
    """Stands for a lab: a host is a folder."""

    root: Path
    name: str = "h1"

    @property
    def hosts(self) -> list["OneHost"]:
        return [self]

    def machine(self, _host: str) -> "OneHost":
        return self


class Told:
    """A run's journal and its host's own records, as a test wants them."""

    def __init__(self, folder: Path) -> None:
        self.lab: Any = OneHost(folder / "h1")
        self.journal = Journal(f"sqlite:///{folder / 'journal.db'}")
        self.journal.open_run(Run("r1", "recover-lockspace", "lab", {}, "", "", utc_now(), 0))
        (self.lab.root / STORE).mkdir(parents=True)
        (self.lab.root / "var/log").mkdir()
        self.wrote(WRITE)

    def note(self, kind: Kind, step: str, phase: Phase, attempt: int = 1, **payload: Any) -> None:
        while self.journal.run("r1").attempt < attempt:
            self.journal.open_run(self.journal.run("r1"))
        actor = "ann" if kind is Kind.GATE else ""
        draft = Draft("r1", kind, step, phase, attempt, host="h1", actor=actor, payload=payload)
        self.journal.append(draft)

    def sent(self, step: str, argv: str = WRITE, attempt: int = 1) -> None:
        step_id = f"r1.{step.partition('@')[0]}"
        self.note(Kind.REMOTE, step, Phase.INTENT, attempt, argv=argv.split(), step_id=step_id)
        (self.lab.root / STORE / step_id).mkdir(exist_ok=True)

    def wrote(self, *lines: str) -> None:
        (self.lab.root / LOG.lstrip("/")).write_text("".join(f"{line}\n" for line in lines))

    @property
    def ordeal(self) -> Ordeal:
        ordeal = Ordeal(self.lab, None, "r1", lambda point: True)  # type: ignore[arg-type]
        ordeal.entries = self.journal.entries("r1")
        ordeal.begun, ordeal.struck = {STEP: 1}, {f"begun {STEP}"}
        return ordeal

    def judge(self) -> None:
        require_nothing_twice(self.ordeal, WatchedCommands(self.lab))
        require_attached(self.ordeal)
        require_each_gate_decided_once(self.ordeal, [GATE])


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """A run that did everything once."""
    told = Told(tmp_path)
    told.note(Kind.GATE, GATE, Phase.NOTE, what="asked")
    told.note(Kind.GATE, GATE, Phase.DECISION, decision="approve")
    told.sent(STEP)
    return told


def test_once_is_well(told: Told) -> None:
    told.note(Kind.REMOTE, STEP, Phase.OUTCOME, 2, how="attached")
    told.sent("leave_global_maintenance.1@h1", REISSUE, 2)
    told.sent("leave_global_maintenance.2@h1", REISSUE, 2)
    told.wrote(WRITE, REISSUE, REISSUE)
    told.judge()


def test_two_steps_may_give_the_same_command(told: Told) -> None:
    for step in ("shut_down_engine@h1", "shut_down_rescue@h1"):
        told.sent(step, SHUTDOWN)
    told.wrote(WRITE, SHUTDOWN, SHUTDOWN)
    told.judge()
    told.wrote(WRITE, SHUTDOWN, SHUTDOWN, SHUTDOWN)
    with pytest.raises(AssertionError, match="given 3 times: hosted-engine --vm-shutdown"):
        told.judge()


TWICE: dict[str, Callable[[Told], None]] = {
    "given 2 times: sanlock direct init": lambda told: told.wrote(WRITE, WRITE),
    "given 1 times: hosted-engine": lambda told: told.wrote(WRITE, REISSUE),
    f"{STEP}: started": lambda told: told.note(Kind.REMOTE, STEP, Phase.OUTCOME, 2, how="started"),
    "is asked again": lambda told: told.note(Kind.GATE, GATE, Phase.NOTE, 2, what="asked"),
    "approve_other": lambda told: told.note(
        Kind.GATE, "approve_other", Phase.DECISION, decision="approve"
    ),
    "r1.unknown": lambda told: (told.lab.root / STORE / "r1.unknown").mkdir(),
}


@pytest.mark.parametrize("what", TWICE)
def test_what_was_done_twice_is_seen(told: Told, what: str) -> None:
    TWICE[what](told)
    with pytest.raises(AssertionError, match=what):
        told.judge()
