"""Every runbook, killed at every entry of its journal: the same end, and nothing done twice.

One test kills a run at every point, one after the other, until it is through. Another kills a run
once, at some points that are drawn by lot; at every point if RUNBOOKS_KILL=all is set.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tasks.env import use_world
from tasks.gates import decision_of
from tasks.journal import Journal, Kind, Phase
from tests.fake_cluster import FakeCluster
from tests.mortal import Killed, MortalJournal, Reaper, everywhere_once, mortal_shells, once_at
from tests.rehearsal import Rehearsal, rehearsals

pytestmark = pytest.mark.slow

ALL = rehearsals()
RUN = "r1"
MOST_ATTEMPTS = 1000
SAMPLE = 2  # points a runbook
SEED = int(os.environ.get("RUNBOOKS_KILL_SEED", random.SystemRandom().randrange(1 << 32)))
EVERY_POINT = os.environ.get("RUNBOOKS_KILL") == "all"


@dataclass
class Trial:
    """One run that is killed and entered again, and what there is to be said of it."""

    rehearsal: Rehearsal
    cluster: FakeCluster
    reaper: Reaper
    started: Counter[str] = field(default_factory=Counter)
    asked: list[str] = field(default_factory=list)
    kills: list[str] = field(default_factory=list)

    @property
    def journal(self) -> Journal:
        return self.cluster.world.journal

    def ask(self, gate: str, _shown: Mapping[str, Any]) -> Mapping[str, Any]:
        assert decision_of(self.journal, RUN, gate) is None, f"{gate} is asked again"
        self.asked.append(gate)
        return self.rehearsal.answer(gate)

    def run(self) -> None:
        """Enter the run until it gets through."""
        world = replace(
            self.cluster.world,
            journal=MortalJournal(self.cluster.folder, self.reaper),
            shells=mortal_shells(self.cluster.world.shells, self.reaper, self.started),
            ask=self.ask,
        )
        with use_world(world):
            for _ in range(MOST_ATTEMPTS):
                try:
                    self.rehearsal.attempt(self.cluster, RUN)
                except Killed as killed:
                    self.kills.append(str(killed))
                else:
                    return
        raise AssertionError(f"not through after {MOST_ATTEMPTS} attempts")

    def came_to(self) -> dict[str, object]:
        """Return what must be as without a kill."""
        entries = self.journal.entries(RUN)
        return {
            "end state": self.rehearsal.end_state(self.cluster),
            "commands": self.rehearsal.mutations(self.cluster),
            "steps": sorted(self.started),
            "gates": [
                (e.step, e.payload["decision"])
                for e in entries
                if e.kind is Kind.GATE and e.phase is Phase.DECISION
            ],
            "outcomes": [
                (e.kind, e.step)
                for e in entries
                if e.phase is Phase.OUTCOME and e.kind in (Kind.CHANGE, Kind.CHECK, Kind.WAIT)
            ],
        }


@contextmanager
def trial(rehearsal: Rehearsal, strikes: Callable[[str], bool], folder: Path) -> Iterator[Trial]:
    with rehearsal.prepare(folder) as cluster:
        yield Trial(rehearsal, cluster, Reaper(strikes))


@cache
def unharmed(runbook: str) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return what a run comes to that is left alone, and the points that it passes."""
    with (
        TemporaryDirectory() as folder,
        trial(ALL[runbook], lambda point: False, Path(folder)) as alone,
    ):
        alone.run()
        return alone.came_to(), tuple(dict.fromkeys(alone.reaper.points))


def points_of(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield the points at which a run is killed once."""
    points = unharmed(rehearsal.runbook)[1]
    if EVERY_POINT:
        yield from points
    else:
        yield from random.Random(SEED).sample(points, min(SAMPLE, len(points)))


def judge(tried: Trial, where: str) -> None:
    wanted, came = unharmed(tried.rehearsal.runbook)[0], tried.came_to()
    for what, value in wanted.items():
        assert came[what] == value, f"{where}: {what}"
    twice = [step for step, times in tried.started.items() if times > 1]
    assert not twice, f"{where}: started twice: {twice}"


@pytest.mark.parametrize("rehearsal", ALL.values(), ids=ALL)
def test_killed_at_every_point_in_turn(rehearsal: Rehearsal, tmp_path: Path) -> None:
    with trial(rehearsal, everywhere_once(), tmp_path) as tried:
        tried.run()
        judge(tried, f"killed {len(tried.kills)} times")
        missed = set(unharmed(rehearsal.runbook)[1]) - set(tried.kills)
        assert not missed, f"never killed at {missed}"


@pytest.mark.parametrize("rehearsal", ALL.values(), ids=ALL)
def test_killed_once(rehearsal: Rehearsal, tmp_path: Path) -> None:
    for number, point in enumerate(points_of(rehearsal)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with trial(rehearsal, once_at(point), folder) as tried:
            tried.run()
            where = f"killed {point} (RUNBOOKS_KILL_SEED={SEED})"
            judge(tried, where)
            assert tried.kills == [point], where
