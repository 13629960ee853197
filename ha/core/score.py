"""A host's fitness to run the engine VM: a base score less named penalties."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ha.core.facts import Local, Memory, Snapshot, State
from ha.core.timing import Timing


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """agent.conf [score], upstream's names with underscores; the same on all hosts."""

    base_score: int = 3400
    network_score_penalty: int = 1600
    not_uptodate_config_penalty: int = 1000
    mgmt_bridge_score_penalty: int = 600
    free_memory_score_penalty: int = 400
    cpu_load_score_penalty: int = 1000
    engine_retry_score_penalty: int = 50
    cpu_load_penalty_min: float = 0.4
    cpu_load_penalty_max: float = 0.9


@dataclass(frozen=True, slots=True)
class Penalty:
    """Points taken off, and for what; `points` None takes off everything."""

    points: int | None
    reason: str
    name: str
    """For what in one word, always the same: the reason may hold numbers."""


# States in which the host is no candidate, with upstream's words for it.
ZERO: dict[State, str] = {
    State.START: "the agent is starting",
    State.REINITIALIZE_FSM: "the agent is finding its state",
    State.LOCAL_MAINTENANCE: "local maintenance mode",
    State.ENGINE_UNEXPECTEDLY_DOWN: "unexpected vm shutdown",
    State.AGENT_STOPPED: "the agent being stopped",
}

# The VM's own memory is in use here, or nothing is going to be started (rhbz#1857793).
_MEMORY_DOES_NOT_COUNT = frozenset(
    {State.ENGINE_UP, State.ENGINE_UP_BAD_HEALTH, State.GLOBAL_MAINTENANCE}
)


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What the core is told once: this host and its agent.conf."""

    host_id: int
    vm_memory_mib: float
    score: ScoreSettings = field(default_factory=ScoreSettings)
    timing: Timing = field(default_factory=Timing)
    conf_on_shared_storage: bool = True
    """Whether the host's configuration has the form used since 3.6."""


def penalties(memory: Memory, local: Local, settings: CoreSettings) -> Iterator[Penalty]:
    """Yield what lowers the score in this state, in upstream's order."""
    points = settings.score
    if memory.state in ZERO:
        yield Penalty(None, ZERO[memory.state], "state")
        return
    if not settings.conf_on_shared_storage:
        what = "not up-to-date VM configuration"
        yield Penalty(points.not_uptodate_config_penalty, what, "config")
    unreachable = 1 - local.network
    yield Penalty(int(unreachable * points.network_score_penalty), "network status", "network")
    if not local.bridge:
        yield Penalty(points.mgmt_bridge_score_penalty, "mgmt bridge status", "bridge")
    yield Penalty(_cpu_penalty(cpu_load_average(memory.history), points), "cpu load", "cpu")
    free, required = local.memory_free_mib or 0.0, settings.vm_memory_mib
    if free < required and memory.state not in _MEMORY_DOES_NOT_COUNT:
        yield Penalty(
            points.free_memory_score_penalty,
            f"free memory {free:.0f} being lower than required {required:.0f}",
            "memory",
        )
    attempts = f"{memory.retries} engine vm retry attempts"
    if memory.retries > settings.timing.retry_max:
        yield Penalty(None, attempts, "retries")
    else:
        yield Penalty(points.engine_retry_score_penalty * memory.retries, attempts, "retries")


def score_of(base: int, taken: Sequence[Penalty]) -> int:
    """Return what the penalties leave of the base score, at least 0."""
    total = base
    for penalty in taken:
        if penalty.points is None:
            return 0
        total -= penalty.points
    return max(0, total)


def cpu_load_average(history: Sequence[Snapshot]) -> float:
    """Return the load over the whole history, weighted by time; 0.0 when nothing is known.

    Trapezoids between neighbours that both know their load, newest first.
    """
    area = span = 0.0
    for newer, older in pairwise(history):
        if newer.cpu_load is not None and older.cpu_load is not None:
            seconds = newer.now - older.now
            area += seconds * (newer.cpu_load + older.cpu_load) / 2.0
            span += seconds
    return area / span if span else 0.0


def _cpu_penalty(load: float, points: ScoreSettings) -> int:
    low, high, most = (
        points.cpu_load_penalty_min,
        points.cpu_load_penalty_max,
        points.cpu_load_score_penalty,
    )
    if low == high:
        return 0 if load < low else most
    return max(0, min(most, int((load - low) / (high - low) * most)))
