"""A forecast for a person, and as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict

from ha.simulator.site import Line
from ha.simulator.whatif import Forecast, Outage

# What of a log is told: the product's own log says the same at greater length.
KINDS = ("fault", "host", "state", "lease", "vm", "broken")


def text_of(made: Forecast, sources: list[str]) -> str:
    """Return the forecast as text; `sources` says where the settings come from."""
    plan, run = made.question.plan, made.run
    faults = ", ".join(
        f"{words} at {clock(at_seconds)}" for at_seconds, words in sorted(made.question.faults)
    )
    rows = [_row(line) for line in run.lines if line.kind in KINDS]
    return "\n".join(
        [
            f"What if: {faults}",
            f"{plan.hosts} hosts, the engine VM on {made.question.vm_on}; T is the first fault.",
            "",
            f"{'time':>8}  {'who':8} what",
            *rows,
            "",
            *_verdict(made),
            "",
            "Assumed:",
            *(f"  {each}" for each in [*sources, *_assumed(made)]),
            "",
        ]
    )


def json_of(made: Forecast, sources: list[str]) -> str:
    """Return the forecast as one JSON object; seconds count from the first fault."""
    run = made.run
    return json.dumps(
        {
            "faults": [{"at_seconds": at, "do": words} for at, words in made.question.faults],
            "vm_on": made.question.vm_on,
            "lines": [asdict(line) for line in run.lines if line.kind in KINDS],
            "outages": [asdict(outage) for outage in run.outages],
            "down_seconds": round(run.down_seconds, 1),
            "down_seconds_least": round(made.least_seconds, 1),
            "down_seconds_most": round(made.most_seconds, 1),
            "milestones": {
                name: [round(first, 1), round(last, 1)]
                for name, (first, last) in made.ranges.items()
            },
            "runs": made.question.runs,
            "runs_in_which_the_engine_stays_down": made.lost,
            "broken": list(run.broken),
            "assumed": [*sources, *_assumed(made)],
        },
        indent=2,
    )


def clock(seconds: float) -> str:
    """Return seconds since the first fault as T+minutes:seconds."""
    return f"T+{int(seconds) // 60}:{int(seconds) % 60:02d}"


def minutes(seconds: float) -> str:
    """Return a duration in minutes and seconds."""
    whole_minutes, rest = divmod(int(seconds), 60)
    return f"{whole_minutes} min {rest} s" if whole_minutes else f"{rest} s"


def _row(line: Line) -> str:
    return f"{clock(line.at_seconds):>8}  {line.host or '-':8} {line.kind:6} {line.text}"


def _verdict(made: Forecast) -> Iterator[str]:
    run = made.run
    if not run.outages:
        yield "The engine answers all the time."
    for outage in run.outages:
        yield _outage(outage)
    if len(run.outages) > 1:
        yield f"Together it does not answer for {minutes(run.down_seconds)}."
    if made.question.runs > 1:
        least, most = minutes(made.least_seconds), minutes(made.most_seconds)
        yield (
            f"Asked {made.question.runs} times, with the fault at another moment each time: it does"
            f" not answer for {least} to {most}; above is the run in the middle (seed {run.seed})."
        )
        for name, (first, last) in made.ranges.items():
            yield f"  {name}: {clock(first)} to {clock(last)}"
    if made.lost:
        yield (
            f"In {made.lost} of {made.question.runs} runs it does not answer at the end, which is"
            f" {minutes(run.until_seconds)} after the fault."
        )
    for broken in run.broken:
        yield f"What must never be: {broken}"


def _outage(outage: Outage) -> str:
    begin = clock(outage.begin_seconds)
    if outage.end_seconds is None:
        return f"From {begin} on the engine does not answer any more."
    return (
        f"The engine does not answer for {minutes(outage.end_seconds - outage.begin_seconds)}:"
        f" from {begin} to {clock(outage.end_seconds)}."
    )


def _assumed(made: Forecast) -> Iterator[str]:
    plan, timing = made.question.plan, made.question.plan.settings.timing
    yield (
        f"a turn every {timing.loop_seconds:g} s, a host is silent after"
        f" {timing.host_alive_seconds:g} s, sanlock's io_timeout is {timing.io_timeout_seconds} s"
    )
    yield (
        f"a host boots in {plan.boot_seconds:g} s; the engine VM in {plan.engine_boot_seconds:g} s,"
        f" and its engine is well {plan.engine_health_seconds:g} s later"
    )
    yield f"hosts {'have' if plan.watchdog else 'have no'} watchdogs; the storage answers at once"
