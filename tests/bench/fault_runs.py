"""How many random fault runs of the simulator two processors make in an hour."""

import os
import time
from collections.abc import Iterator

from ha.simulator.fuzz import outcomes
from tests.bench.table import Row

AIM = 100_000
HOUR_SECONDS = 3600
PROCESSES = 2


def measure(runs: int = 100) -> Iterator[Row]:
    """Yield one row: what was made on the wall, and what the processor time spent allows."""
    began, before = time.monotonic(), _used_seconds()
    made = list(outcomes(range(runs), PROCESSES))
    wall_seconds = time.monotonic() - began
    each_seconds = (_used_seconds() - before) / runs
    virtual_hours = sum(outcome.virtual_seconds for outcome in made) / HOUR_SECONDS
    yield Row(
        "fault runs in an hour",
        f"{AIM}",
        f"{PROCESSES * HOUR_SECONDS / each_seconds:.0f} by processor time",
        f"{runs / wall_seconds * HOUR_SECONDS:.0f} on the wall",
        f"{runs} runs of {virtual_hours * HOUR_SECONDS / runs:.0f} virtual s,"
        f" {each_seconds * 1000:.0f} ms of a processor each, on {PROCESSES}",
    )


def _used_seconds() -> float:
    used = os.times()
    return used.children_user + used.children_system
