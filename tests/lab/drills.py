"""Drills: a fault in the lab, what must follow, and what was measured, told and drawn.

With PICTURES=FOLDER the timelines are kept as pictures, for docs/failover.md. With PACE=production
the lab runs with upstream's limits and sanlock at its own speed: each drill then takes minutes.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ha.core.score import ScoreSettings
from ha.simulator.picture import picture
from ha.simulator.timeline import Lane, Timeline
from tasks.witnesses import maintenance_flag, records
from tests.lab import care
from tests.lab.cluster import Lab
from tests.lab.commands import LabError
from tests.lab.drill_watch import Watch, timing_of
from tests.lab.heartbeats import spans

PRODUCTION = os.environ.get("PACE") == "production"
TIMING = {
    "loop_seconds": 2.0,
    "host_alive_seconds": 15.0,
    "away_seconds": 10.0,
    "bad_health_seconds": 22.0,
    "stopping_seconds": 5.0,
    # Well above what a start elsewhere takes on a busy machine: the host whose VM was killed is not
    # to be back in the race for it by then. (The default is 600.)
    "unexpected_seconds": 30.0,
    "blind_seconds": 20.0,
}
# sanlock's, in seconds of its own clock, with its io_timeout of 10.
DEAD_SECONDS, RENEWAL_SECONDS, JOIN_SECONDS = 140, 20, 21
# The engine stand-in from its start to its health page, and a host to its services.
BOOT_SECONDS, HOST_BOOT_SECONDS = 12, 10
GENEROUS = 3
PENALISED = "EngineUnexpectedlyDown"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the limits in force add up to, in seconds; told beside what was measured."""

    lab: Lab

    @property
    def turns(self) -> float:
        """A monitor's look, the turn that sees it, and the turn of whoever acts on it."""
        return 3 * timing_of(self.lab).loop_seconds

    @property
    def boot(self) -> float:
        """From the engine VM's start to its health page."""
        return BOOT_SECONDS

    @property
    def alive(self) -> float:
        """Until an agent that has just begun knows who else is alive."""
        return timing_of(self.lab).host_alive_seconds

    @property
    def join(self) -> float:
        """Until sanlock has given a host its id."""
        return self._sanlock(JOIN_SECONDS)

    @property
    def dead(self) -> float:
        """Until a host without power is dead for the agents and for sanlock."""
        return max(self.alive, self._sanlock(DEAD_SECONDS + RENEWAL_SECONDS)) + self.turns

    def _sanlock(self, seconds: float) -> float:
        return seconds / self.lab.parts.state.sanlock_speed


@contextmanager
def drill(lab: Lab, name: str, title: str, *, bound_seconds: float) -> Iterator["Drill"]:
    """Begin and end with a cluster at work; in between no two engine VMs are ever alive."""
    until_at_work(lab)
    boots = len(spans(lab.heartbeats()))
    with Watch(lab, title) as watch:
        going_on = Drill(lab, watch, boots, bound_seconds)
        yield going_on
        # The VM stayed: what the hosts said before still stands on the whiteboard for a while.
        stale = 2 * timing_of(lab).loop_seconds if going_on.same_boot() else 0.0
        until_at_work(lab, for_seconds=stale)
        watch.told("all at work")
    made = watch.timeline()
    report(name, going_on, made)
    assert lab.overlaps() == []
    assert penalised(made) <= going_on.may_be_penalised


@dataclass(slots=True)
class Drill:
    """A drill that goes on."""

    lab: Lab
    watch: Watch
    boots: int
    bound_seconds: float
    may_be_penalised: frozenset[str] = frozenset()
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def limit_seconds(self) -> float:
        """How long a drill waits at most: on a busy machine all takes longer."""
        return GENEROUS * self.bound_seconds + 120

    def until_started_again(self) -> None:
        """Wait until a new boot of the engine VM beats and its engine answers."""
        self.until_good(lambda: len(spans(self.lab.heartbeats())) > self.boots)

    def until_good(self, holds: Callable[[], bool] = lambda: True) -> None:
        """Wait until this holds and the engine answers."""
        self.lab.wait_until(
            lambda: holds() and self.lab.engine_answers(), self.limit_seconds, "all is good again"
        )
        self.watch.told("engine good")

    def same_boot(self) -> bool:
        """Whether the engine VM was never started anew."""
        return len(spans(self.lab.heartbeats())) == self.boots


def at_work(lab: Lab) -> str:
    """What speaks against a cluster at work, every host fit; nothing if nothing does."""
    told = records(care.whiteboard(lab))
    states = sorted(str(record.state) for record in told.values())
    if states != [*["EngineDown"] * (len(lab.hosts) - 1), "EngineUp"]:
        return str(states)
    if unfit := {n: r.score for n, r in told.items() if r.score != ScoreSettings().base_score}:
        return f"scores {unfit}"
    return "global maintenance" if maintenance_flag(care.whiteboard(lab)) else ""


def until_at_work(lab: Lab, *, for_seconds: float = 0.0) -> None:
    """Wait until it is, and has been for so long: a daemon that was killed leaves its last word."""
    limit = timing_of(lab).unexpected_seconds + 180
    began = since = time.monotonic()
    while True:
        trouble = at_work(lab) or ("" if lab.engine_answers() else "the engine does not answer")
        now = time.monotonic()
        since = now if trouble else since
        if not trouble and now - since >= for_seconds:
            return
        if now - began > limit:
            raise LabError(f"not at work after {limit:g} s: {trouble}")
        time.sleep(0.3)


def penalised(made: Timeline) -> frozenset[str]:
    """The hosts that were shut out as if the engine VM had failed on them."""
    return frozenset(lane.name for lane in made.lanes for bar in lane.bars if bar.word == PENALISED)


def report(name: str, ended: Drill, made: Timeline) -> None:
    """Tell what was measured, with the limits in force, and keep the picture if it is wanted."""
    vm, engine = lane_of(made, "VM"), lane_of(made, "engine")
    issued = [mark for mark in made.marks if mark.text.startswith("start issued")]
    gone = end_at(vm, 0.0)
    runs = begins_after(vm, gone or 0.0)
    told = {
        "VM gone": gone,
        "start issued": issued[0].at_seconds if issued else None,
        "VM runs": runs,
        "engine good": None if runs is None else begins_after(engine, runs),
        "at work": made.end_seconds,
        **ended.measured,
    }
    said = ", ".join(f"{what} {at:.1f} s" for what, at in told.items() if at is not None)
    print(f"\ndrill {name}: {said}; bound {ended.bound_seconds:.0f} s", flush=True)
    folder = os.environ.get("PICTURES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"drill-{name}.svg").write_text(picture(made))


def lane_of(made: Timeline, name: str) -> Lane:
    """Return the lane of that name."""
    return next(lane for lane in made.lanes if lane.name == name)


def begins_after(lane: Lane, at_seconds: float) -> float | None:
    """When the first bar that is of any good begins, from that time on."""
    of_no_good = ("no answer", "waits for its lease")
    begins = (bar.begin_seconds for bar in lane.bars if bar.word not in of_no_good)
    return next((begin for begin in begins if begin >= at_seconds), None)


def end_at(lane: Lane, at_seconds: float) -> float | None:
    """When the bar that is there at that time ends, if it does not last."""
    for bar in lane.bars[:-1]:
        if bar.begin_seconds <= at_seconds < bar.end_seconds:
            return bar.end_seconds
    return None
