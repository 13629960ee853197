"""Runs a scenario in virtual time: what happened, what was expected and was not the case."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ha.simulator.cluster import Cluster
from ha.simulator.deployed import furnish
from ha.simulator.door.folder import Folder
from ha.simulator.onlooker import Onlooker, timeline_of
from ha.simulator.scenario import NOWHERE, Event, Expectation, Scenario
from ha.simulator.site import Line
from ha.simulator.timeline import Timeline

STATE, LOG = "state", "log"
STATE_LINE = re.compile(r"(?P<state>\w+) \((?P<score>\d+)\): ")
SCORE_STEP = 100
DECIDED = re.compile(r"\[\w+/[\w-]+\]$")
REPEATS_WITHIN_SECONDS = 130.0
"""A line of a daemon's log that comes again and again is told once, with how often it came."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a scenario; `wrong` has what must never be the case, and what was expected."""

    lines: tuple[Line, ...]
    wrong: tuple[str, ...]
    timeline: Timeline | None = None
    """What an onlooker saw, if there was to be one."""


def play(scenario: Scenario, *, looked_at: bool = False) -> Played:
    """Run a scenario. Raises SimulationError."""
    with TemporaryDirectory(prefix="scenario-") as folder:
        with cluster_of(scenario, Path(folder)) as cluster:
            played = _play(scenario, cluster, looked_at=looked_at)
        # What a command says of files stands below this folder here, and below / on a host.
        hide = re.compile(re.escape(folder) + r"/(machines/\w+|shared)")
        lines = tuple(replace(line, text=hide.sub("", line.text)) for line in played.lines)
    return replace(played, lines=lines)


def cluster_of(scenario: Scenario, path: Path) -> Cluster:
    """Return the scenario's cluster; with files below an empty folder if commands are run."""
    if not any(event.command for event in scenario.events):
        return Cluster(scenario.plan)
    folder = Folder(path)
    cluster = Cluster(scenario.plan, folder.make_shared(scenario.plan.hosts))
    for host in cluster.hosts:
        folder.make_machine(host.name)
        furnish(host, folder.machine(host.name))
    return cluster


def _play(scenario: Scenario, cluster: Cluster, *, looked_at: bool) -> Played:
    wrong: list[str] = []
    looks = Onlooker(cluster) if looked_at else None
    run_until = looks.run_until if looks else cluster.run_until
    steps: list[Event | Expectation] = [*scenario.events, *scenario.expect]
    for step in sorted(steps, key=lambda step: step.at_seconds):
        run_until(step.at_seconds)
        if isinstance(step, Expectation):
            wrong += unmet(cluster, step)
        elif step.do:
            cluster.do(step.do)
        else:
            cluster.command(step.host, *step.command)
    run_until(scenario.until_seconds)
    begin = scenario.told_from_seconds
    return Played(
        lines=tuple(line for line in cluster.log if line.at_seconds >= begin),
        wrong=(*_broken(cluster, scenario.breaks), *wrong),
        timeline=_timeline(scenario, looks) if looks else None,
    )


def _broken(cluster: Cluster, breaks: Sequence[str]) -> Iterator[str]:
    """Yield what must never be and was not said to be here, and what was said and is not."""
    said = {each.split(": ", 1)[1]: each for each in cluster.invariants.broken}
    yield from (each for what, each in said.items() if what not in breaks)
    yield from (f"it is not so that {what}" for what in breaks if what not in said)


def _timeline(scenario: Scenario, looks: Onlooker) -> Timeline:
    return timeline_of(scenario.title, looks, since_seconds=scenario.told_from_seconds)


def unmet(cluster: Cluster, expected: Expectation) -> Iterator[str]:
    """Yield what is not as expected, in words."""
    at = f"at {expected.at_seconds:g} s"
    where = [host.name for host in cluster.hosts if host.executes_vm] or [NOWHERE]
    if expected.engine_on is not None and where != [expected.engine_on]:
        yield f"{at} the engine VM runs on {' and '.join(where)}, not on {expected.engine_on}"
    if expected.engine_good is not None and cluster.serves is not expected.engine_good:
        yield f"{at} the engine {'answers' if cluster.serves else 'does not answer'}"
    states = states_in(cluster.log)
    for host, state in expected.states.items():
        if states.get(host) != state:
            yield f"{at} {host} is in {states.get(host, 'no state')}, not in {state}"


def states_in(lines: Iterable[Line]) -> dict[str, str]:
    """Return the state that each host told last."""
    return {line.host: line.text.split(" ", 1)[0] for line in lines if line.kind == STATE}


def told(lines: Sequence[Line]) -> Iterator[str]:
    """Yield the log as text: seconds, host, kind, what happened.

    What a daemon's log says of a decision is left out: the line of the new state says it. Of a
    score that creeps only steps are told.
    """
    kept: list[tuple[Line, list[float]]] = []
    last: dict[tuple[str, str], list[float]] = {}
    scores: dict[str, tuple[str, int]] = {}
    for line in lines:
        if line.kind == STATE and _creeps(line, scores):
            continue
        if line.kind != LOG:
            kept.append((line, []))
        elif not DECIDED.search(line.text):
            key = (line.host, line.text)
            times = last.get(key)
            if times is None or line.at_seconds - times[-1] > REPEATS_WITHIN_SECONDS:
                times = last[key] = []
                kept.append((line, times))
            times.append(line.at_seconds)
    for line, times in kept:
        again = f" ({len(times)} times until {times[-1]:.0f} s)" if len(times) > 1 else ""
        yield told_line(line) + again


def _creeps(line: Line, scores: dict[str, tuple[str, int]]) -> bool:
    """Whether a state's line tells no more than a score a little other than the one told last."""
    match = STATE_LINE.match(line.text)
    if match is None:
        return False
    state, score = match["state"], int(match["score"])
    before = scores.get(line.host)
    if before and before[0] == state and 0 < abs(before[1] - score) < SCORE_STEP:
        return True
    scores[line.host] = (state, score)
    return False


def told_line(line: Line) -> str:
    """Return one line; what a command printed stands below it."""
    first, *more = line.text.splitlines() or [""]
    begin = f"{int(line.at_seconds):7} {line.host or 'cluster':8} {line.kind:8} {first}".rstrip()
    return "\n".join([begin, *(f"{'':26}| {each}".rstrip() for each in more)])
