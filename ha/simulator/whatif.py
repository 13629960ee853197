"""What would happen to the engine if this befell the cluster now: the product itself, simulated.

The cluster is first brought to work: the engine answers on one host, the others wait. Then come the
faults. When they come matters: the turns of the agents and the renewals of the leases go on as they
do. So the question is asked several times, each time at another moment, and the answer has a range.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

from ha.core.facts import State
from ha.simulator.cluster import Cluster
from ha.simulator.onlooker import ENGINE, GOOD, Onlooker, timeline_of
from ha.simulator.play import states_in
from ha.simulator.site import Line, Plan
from ha.simulator.timeline import Change, Timeline

LONGEST_WAY_SECONDS = 7200.0
STEP_SECONDS = 10.0
LEAD_SECONDS = 60.0
RUNS = 5
# What is told of all runs.
MILESTONES = ASKED, RUNS_AGAIN, ANSWERS = ("a host asks for the VM", "the VM runs", "it answers")


class NeverAtWork(Exception):
    """Raised when the cluster does not come to work with these settings, before any fault."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; times count from the first fault."""

    faults: tuple[tuple[float, str], ...]
    plan: Plan
    vm_on: str
    until_seconds: float
    runs: int = RUNS


@dataclass(frozen=True, slots=True)
class Outage:
    """The engine did not answer; `end_seconds` None: not again in what was simulated."""

    begin_seconds: float
    end_seconds: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what happened, in seconds since the first fault."""

    seed: int
    lines: tuple[Line, ...]
    outages: tuple[Outage, ...]
    until_seconds: float
    timeline: Timeline
    broken: tuple[str, ...]

    @property
    def down_seconds(self) -> float:
        """How long the engine did not answer, in all."""
        ends = [
            self.until_seconds if o.end_seconds is None else o.end_seconds for o in self.outages
        ]
        return sum(end - o.begin_seconds for end, o in zip(ends, self.outages, strict=True))

    @property
    def milestones(self) -> Mapping[str, float]:
        """When what matters came about, where it did."""
        found: dict[str, float] = {}
        for line in self.lines:
            name = _milestone(line)
            if name == ANSWERS:
                found[name] = line.at_seconds
            elif name:
                found.setdefault(name, line.at_seconds)
        return found

    @property
    def comes_back(self) -> bool:
        """Whether the engine answers at the end."""
        return all(outage.end_seconds is not None for outage in self.outages)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect: all runs by how long the engine did not answer, and the one in the middle."""

    question: Question
    runs: tuple[Run, ...]

    @property
    def run(self) -> Run:
        """The run in the middle."""
        return self.runs[(len(self.runs) - 1) // 2]

    @property
    def least_seconds(self) -> float:
        """The shortest time without the engine."""
        return self.runs[0].down_seconds

    @property
    def most_seconds(self) -> float:
        """The longest."""
        return self.runs[-1].down_seconds

    @property
    def lost(self) -> int:
        """In how many runs the engine does not answer at the end."""
        return sum(not run.comes_back for run in self.runs)

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """From when to when each milestone came about, of those that did in every run."""
        seen = [run.milestones for run in self.runs]
        names = [name for name in MILESTONES if all(name in each for each in seen)]
        return {
            name: (min(each[name] for each in seen), max(each[name] for each in seen))
            for name in names
        }


def forecast(question: Question) -> Forecast:
    """Answer a question. Raises NeverAtWork, SimulationError."""
    seeds = range(question.plan.seed, question.plan.seed + question.runs)
    runs = sorted((ask(question, seed) for seed in seeds), key=lambda run: run.down_seconds)
    return Forecast(question, tuple(runs))


def ask(question: Question, seed: int) -> Run:
    """Simulate it once. Raises NeverAtWork, SimulationError."""
    with Cluster(replace(question.plan, seed=seed, first=question.vm_on)) as cluster:
        looks = Onlooker(cluster)
        bring_to_work(looks, question.vm_on)
        timing = question.plan.settings.timing
        period_seconds = max(timing.loop_seconds, 2.0 * timing.io_timeout_seconds)
        settled = timing.host_alive_seconds + 2 * timing.loop_seconds
        moment = Random(seed).uniform(0.0, period_seconds)
        looks.run_until(cluster.now + settled + moment)
        zero = cluster.now
        for at_seconds, words in sorted(question.faults):
            looks.run_until(zero + at_seconds)
            cluster.do(words)
            looks.look()
        looks.run_until(zero + question.until_seconds)
        return _run(question, seed, looks, zero)


def bring_to_work(looks: Onlooker, vm_on: str) -> None:
    """Let the cluster come to work, with the engine on that host. Raises NeverAtWork."""
    cluster, wanted = looks.cluster, [State.ENGINE_UP.value]
    wanted = [State.ENGINE_DOWN.value] * (len(cluster.hosts) - 1) + wanted
    while not cluster.serves or sorted(states_in(cluster.log).values()) != wanted:
        if cluster.now > LONGEST_WAY_SECONDS:
            raise NeverAtWork(
                f"With these settings the engine is not at work after {LONGEST_WAY_SECONDS:g} s;"
                f" the hosts say {states_in(cluster.log)}"
            )
        looks.run_until(cluster.now + STEP_SECONDS)
    if [host.name for host in cluster.hosts if host.executes_vm] != [vm_on]:
        raise NeverAtWork(f"The engine does not come to work on {vm_on}")


def _run(question: Question, seed: int, looks: Onlooker, zero: float) -> Run:
    log = sorted([*looks.cluster.log, *looks.leases], key=lambda line: line.at_seconds)
    lines = [replace(line, at_seconds=line.at_seconds - zero) for line in log]
    title = "What if: " + ", ".join(words for _, words in question.faults)
    return Run(
        seed=seed,
        lines=tuple(line for line in lines if line.at_seconds >= 0),
        outages=tuple(_outages(looks.changes, zero)),
        until_seconds=question.until_seconds,
        timeline=timeline_of(title, looks, since_seconds=zero, lead_seconds=LEAD_SECONDS),
        broken=tuple(looks.cluster.invariants.broken),
    )


def _milestone(line: Line) -> str:
    if line.kind == "state" and line.text.startswith(f"{State.ENGINE_START.value} "):
        return ASKED
    if line.kind == "vm" and line.text == "runs":
        return RUNS_AGAIN
    return ANSWERS if line.kind == "vm" and line.text == "the engine answers" else ""


def _outages(changes: Sequence[Change], zero: float) -> Iterator[Outage]:
    engine = [change for change in changes if change.lane == ENGINE and change.at_seconds >= zero]
    for change, after in pairwise([*engine, None]):
        if change is not None and change.word != GOOD:
            end = None if after is None else after.at_seconds - zero
            yield Outage(change.at_seconds - zero, end)
