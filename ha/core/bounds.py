"""Which timings are safe: lower bounds, derived.

Two engine VMs are kept apart by sanlock, whose times follow from `io_timeout_seconds`: a host whose
storage is lost begins to kill its VM 8 io_timeouts after its last renewal, by force 40 s later; its
watchdog resets it within 60 s; then a peer may take the lease. So any io_timeout is safe as long as
all hosts have the same. With 1 s on one host and 10 s on another, the first takes the lease after
68 s of silence while the second lets its VM run for 80 s. That they are the same is checked against
the lockspace, when a host joins it (`ha.env.lockspace`).

What is bounded here rests on these times and on the turns: a live host must not look dead, a start
must be able to outlast a dead host's lease, and one late answer must not stop a running engine.
docs/timing.md has the derivations.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from ha.core.leases import longest_acquire_seconds
from ha.core.timing import HEALTH_PAGE_SECONDS, Timing


@dataclass(frozen=True, slots=True)
class Bound:
    """The least value of a setting, given the others, and what a smaller one would do."""

    setting: str
    least: Callable[[Timing], float]
    why: str


@dataclass(frozen=True, slots=True)
class Unsafe:
    """A setting that is not safe, by how much, and why."""

    setting: str
    least: float
    why: str


BOUNDS = (
    Bound("io_timeout_seconds", lambda _: 1, "sanlock counts whole seconds"),
    Bound(
        "loop_seconds",
        lambda _: 1,
        "hosts stamp their records in whole seconds: more turns would look like none",
    ),
    Bound(
        "host_alive_seconds",
        lambda t: 3 * t.loop_seconds,
        "three turns: with fewer, one turn that fails on a busy host makes a live host look dead",
    ),
    Bound(
        "history_seconds",
        lambda t: t.host_alive_seconds + 2 * t.loop_seconds,
        "host_alive_seconds and two turns: with less, nobody would ever be known to be alive",
    ),
    Bound(
        "starting_seconds",
        lambda t: longest_acquire_seconds(t.io_timeout_seconds),
        "15 io_timeouts and 60 s: so long a start waits for the lease of a host that has died, and"
        " would be given up before",
    ),
    Bound(
        "bad_health_seconds",
        lambda t: HEALTH_PAGE_SECONDS + t.loop_seconds,
        "one late answer of the health page, which is waited for 20 s, and a turn: with less, it"
        " stops an engine that runs well",
    ),
    Bound(
        "away_seconds",
        lambda t: 2 * t.loop_seconds,
        "two turns: a peer needs one to tell that the VM arrived there, this host one to see it",
    ),
    Bound(
        "stopping_seconds",
        lambda t: t.loop_seconds,
        "a turn: with less, the engine's power is cut without a look whether it has shut down",
    ),
    Bound(
        "blind_seconds",
        lambda t: t.loop_seconds + 2 * t.retry_seconds,
        "a turn and two attempts: with less, one failed read ends the agent",
    ),
    Bound("retry_seconds", lambda _: 0.5, "storage in trouble is not to be asked without a pause"),
    Bound("watch_seconds", lambda _: 0.1, "three hosts look so often, on storage that all share"),
    Bound("restart_threshold", lambda _: 1, "with 0 the engine VM would move between equal hosts"),
)


def unsafe(timing: Timing) -> Iterator[Unsafe]:
    """Yield every setting that is not safe beside the others."""
    for setting, value in asdict(timing).items():
        if not math.isfinite(value):
            yield Unsafe(setting, 0, "it has no end")
    for bound in BOUNDS:
        least = bound.least(timing)
        if getattr(timing, bound.setting) < least:
            yield Unsafe(bound.setting, least, bound.why)
