"""Random faults on a simulated cluster: a seed says all, so that each run can be had again.

    python3 -m ha.simulator.fuzz [--runs N] [--seed FIRST] [--jobs N] [--log]

A run lets the cluster start, does a few random faults, puts everything right on some hosts, cuts
the power of the others, and waits for the engine. What must always hold is in
`ha.simulator.invariants`; within which time the engine must come up, in `ha.simulator.bound`.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from random import Random

from ha.simulator.bound import bound_seconds
from ha.simulator.cluster import Cluster
from ha.simulator.mishaps import begin, press_on, put_right, random_fault, random_plan
from ha.simulator.processes import SimulationError

MOST_FAULTS = 6
STEP_SECONDS = 5.0
ASK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run; `broken` is empty when all held."""

    seed: int
    broken: tuple[str, ...]
    virtual_seconds: float
    log: tuple[str, ...] = ()


def run_one(seed: int, *, keep_log: bool = False) -> Outcome:
    """Make one run."""
    random = Random(seed)
    with Cluster(random_plan(random, seed)) as cluster:
        try:
            broken = list(_run(cluster, random))
        except SimulationError as error:
            broken = [f"{error} ({error.__cause__!r})"]
        broken = [*cluster.invariants.broken, *broken]
        log = tuple(map(str, cluster.log)) if keep_log or broken else ()
        return Outcome(seed, tuple(broken), cluster.now, log)


def _run(cluster: Cluster, random: Random) -> Iterator[str]:
    begin(cluster, random)
    for _ in range(random.randint(1, MOST_FAULTS)):
        random_fault(cluster, random)
    well = put_right(cluster, random)
    limit_seconds = bound_seconds(cluster.plan)
    ends_at, asked_at = cluster.now + limit_seconds, cluster.now
    while not cluster.serves:
        if cluster.now > ends_at:
            yield f"{cluster.now:.2f} s: the engine is not up within {limit_seconds:.0f} s"
            return
        cluster.run_until(cluster.now + STEP_SECONDS)
        if cluster.now - asked_at > ASK_SECONDS:
            asked_at = cluster.now
            press_on(cluster, well)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make runs and tell of those in which something did not hold; 1 if there were any."""
    parser = argparse.ArgumentParser(prog="python3 -m ha.simulator.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--log", action="store_true", help="print each run's log")
    options = parser.parse_args(arguments)
    seeds = range(options.seed, options.seed + options.runs)
    began, failed, virtual_seconds = time.monotonic(), 0, 0.0
    for outcome in outcomes(seeds, options.jobs, keep_log=options.log):
        virtual_seconds += outcome.virtual_seconds
        failed += bool(outcome.broken)
        lines = (*outcome.log, *(f"seed {outcome.seed}: {what}" for what in outcome.broken))
        sys.stdout.writelines(f"{line}\n" for line in lines)
    took, processor_seconds = time.monotonic() - began, sum(os.times()[:4])
    sys.stdout.write(
        f"{options.runs} runs from seed {options.seed}: {virtual_seconds / 3600:.1f} h of virtual"
        f" time in {took:.1f} s, {1000 * processor_seconds / options.runs:.0f} ms of processor time"
        f" a run; something did not hold in {failed}\n"
    )
    return 1 if failed else 0


def outcomes(seeds: range, jobs: int, *, keep_log: bool = False) -> Iterator[Outcome]:
    """Make a run of each seed, in so many processes; one is this one, kept on a processor."""
    run = partial(run_one, keep_log=keep_log)
    context = get_context("fork")
    processors = context.SimpleQueue()
    for number in range(jobs):
        processors.put(number)
    if jobs == 1:
        _stay_on_one_processor(processors)
        yield from map(run, seeds)
        return
    with context.Pool(jobs, _stay_on_one_processor, (processors,)) as pool:
        yield from pool.imap(run, seeds, chunksize=10)
        pool.close()
        pool.join()


def _stay_on_one_processor(numbers: "SimpleQueue[int]") -> None:
    """Keep this process on one: passing the baton to a thread on another costs more than twice."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[numbers.get() % len(allowed)]})


if __name__ == "__main__":
    sys.exit(main())
