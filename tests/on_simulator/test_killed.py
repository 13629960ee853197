"""Runbooks on a simulated cluster, killed at each entry of their journal: the same end.

The agents, brokers and the command are the product's; what must always hold in a simulation holds
all along. One test kills a run at every point, one after the other, until it is through; one long
run at some of them by lot, and at all with TESTS=all or RUNBOOKS_KILL=all. Another kills a run
once: just after a gate was decided, or a step that destroys something was sent, three of these by
lot where there are more; at every point with RUNBOOKS_KILL=all.
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

from runbooks.catalogue import catalogue
from tasks.env import use_world
from tasks.gates import decision_of
from tasks.journal import Kind, Phase
from tests.mortal import Killed, MortalJournal, Reaper, everywhere_once, mortal_shells, once_at
from tests.simulated_cluster import SimulatedCluster
from tests.simulated_rehearsals import SIMULATED, SimulatedRehearsal, commands, end_state

pytestmark = pytest.mark.slow

RUN = "r1"
MOST_ATTEMPTS = 1000
EVERY_POINT = os.environ.get("RUNBOOKS_KILL") == "all"
ALL_IN_TURN = EVERY_POINT or os.environ.get("TESTS") == "all"
SEED = int(os.environ.get("RUNBOOKS_KILL_SEED", random.SystemRandom().randrange(1 << 32)))
SAMPLE = 3
# Steps after which something is not what it was, and does not come back by itself.
DESTROYS = (
    *("write_zeros", "initialise_lockspace", "run_engine_setup", "update_packages"),
    *("shut_down_engine", "migrate_engine_vm", "move_engine_vm"),
)


@dataclass
class Trial:
    """One run that is killed and entered again, and what there is to be said of it."""

    rehearsal: SimulatedRehearsal
    cluster: SimulatedCluster
    reaper: Reaper
    before: Counter[str]
    started: Counter[str] = field(default_factory=Counter)
    kills: list[str] = field(default_factory=list)

    def ask(self, gate: str, _shown: Mapping[str, Any]) -> Mapping[str, Any]:
        answered = decision_of(self.cluster.world.journal, RUN, gate)
        assert answered is None, f"{gate} is asked again"
        return self.rehearsal.fake.answer(gate)

    def run(self) -> None:
        """Enter the run until it gets through."""
        world = replace(
            self.cluster.world,
            journal=MortalJournal(self.cluster.folder, self.reaper),
            shells=mortal_shells(self.cluster.world.shells, self.reaper, self.started),
            ask=self.ask,
        )
        parameters = self.rehearsal.parameters_for(self.cluster)
        with use_world(world):
            for _ in range(MOST_ATTEMPTS):
                try:
                    self.rehearsal.attempt(parameters, RUN)
                except Killed as killed:
                    self.kills.append(str(killed))
                else:
                    return
        raise AssertionError(f"not through after {MOST_ATTEMPTS} attempts")

    def came_to(self) -> dict[str, object]:
        """Return what must be as without a kill."""
        entries = self.cluster.world.journal.entries(RUN)
        outcomes = (Kind.CHANGE, Kind.CHECK, Kind.WAIT)
        return {
            "steps": sorted(self.started),
            "commands": commands(self.cluster) - self.before,
            "gates": [e.step for e in entries if e.kind is Kind.GATE and e.phase is Phase.DECISION],
            "outcomes": [
                (e.kind, e.step) for e in entries if e.phase is Phase.OUTCOME and e.kind in outcomes
            ],
            "end state": end_state(self.cluster),
        }


@contextmanager
def trial(
    rehearsal: SimulatedRehearsal, strikes: Callable[[str], bool], folder: Path
) -> Iterator[Trial]:
    with rehearsal.prepared(folder) as cluster:
        yield Trial(rehearsal, cluster, Reaper(strikes), commands(cluster))


@cache
def unharmed(runbook: str) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return what a run comes to that is left alone, and the points that it passes."""
    with (
        TemporaryDirectory() as folder,
        trial(SIMULATED[runbook], lambda point: False, Path(folder)) as alone,
    ):
        alone.run()
        return alone.came_to(), tuple(dict.fromkeys(alone.reaper.points))


def points_of(runbook: str) -> list[str]:
    """Return where a run is killed once."""
    points = unharmed(runbook)[1]
    if EVERY_POINT:
        return list(points)
    telling = [each for each in points if tells(each)]
    return sorted(random.Random(SEED).sample(telling, min(SAMPLE, len(telling))))


def tells(point: str) -> bool:
    """Whether it is a gate just decided, or a step just sent that destroys something."""
    if point.startswith("sent "):
        return point.rsplit(maxsplit=1)[-1].removeprefix(f"{RUN}.").startswith(DESTROYS)
    return point.startswith("after gate") and point.endswith("decision")


def judge(tried: Trial, where: str) -> None:
    wanted, came = unharmed(tried.rehearsal.runbook)[0], tried.came_to()
    for what, value in wanted.items():
        assert came[what] == value, f"{where}: {what}"
    twice = [step for step, times in tried.started.items() if times > 1]
    assert not twice, f"{where}: started twice: {twice}"


def test_every_runbook_is_killed_here() -> None:
    assert set(SIMULATED) == set(catalogue())


@pytest.mark.parametrize("rehearsal", SIMULATED.values(), ids=SIMULATED)
def test_killed_at_every_point_in_turn(rehearsal: SimulatedRehearsal, tmp_path: Path) -> None:
    wanted = unharmed(rehearsal.runbook)[1]
    strikes = everywhere_once()
    if rehearsal.one_in > 1 and not ALL_IN_TURN:
        wanted = tuple(random.Random(SEED).sample(wanted, len(wanted) // rehearsal.one_in))
        strikes = once_at(*wanted)
    with trial(rehearsal, strikes, tmp_path) as tried:
        tried.run()
        judge(tried, f"killed {len(tried.kills)} times (RUNBOOKS_KILL_SEED={SEED})")
        missed = set(wanted) - set(tried.kills)
        assert not missed, f"never killed at {missed}"


@pytest.mark.parametrize("rehearsal", SIMULATED.values(), ids=SIMULATED)
def test_killed_once(rehearsal: SimulatedRehearsal, tmp_path: Path) -> None:
    for number, point in enumerate(points_of(rehearsal.runbook)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with trial(rehearsal, once_at(point), folder) as tried:
            tried.run()
            judge(tried, f"killed {point} (RUNBOOKS_KILL_SEED={SEED})")
            assert tried.kills == [point], point
