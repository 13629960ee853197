"""A run that the monitor proposed: nothing of it begins before a person has seen event and plan.

The tag PROPOSED on the Prefect run says so; what the monitor saw is in the run's labels. The gate
stands before the cluster's lock is taken: a proposal that nobody answers keeps nobody out.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.context import FlowRunContext

from runbooks.catalogue import catalogue
from tasks.env import ShellError, use_world, world
from tasks.gates import gate
from tasks.inventory import InventoryError
from tasks.journal import Kind, Phase
from tasks.lease import Lease, open_leases
from tasks.plan import Plan, PlanImpossible
from tasks.plan_paper import plan_lines
from tasks.plan_run import make_plan
from tasks.refusal import CheckRefused
from tasks.runs import CurrentRun

PROPOSED = "proposed"
SEEN = ("event", "host", "detail", "since")
LABEL = "hosted-engine."
LONGEST = 500  # characters of what a host wrote


@dataclass(frozen=True, slots=True)
class Seen:
    """What the monitor saw, by its own word."""

    event: str
    host: str
    detail: str
    since: str


def seen_of(context: FlowRunContext | None) -> Seen | None:
    """Return what the run in Prefect was proposed for, or None for a run that a person started."""
    run = None if context is None else context.flow_run
    if run is None or PROPOSED not in run.tags:
        return None
    return Seen(**{name: _shown(run.labels.get(f"{LABEL}{name}", "")) for name in SEEN})


def labels_of(seen: Seen) -> dict[str, str]:
    """Return the labels by which a run tells what it was proposed for."""
    return {f"{LABEL}{name}": getattr(seen, name)[:LONGEST] for name in SEEN}


def ask_if_proposed(
    run: CurrentRun, procedure: Callable[..., object], parameters: Mapping[str, Any]
) -> None:
    """Ask the gate `proposed` at the beginning of a run that the monitor proposed.

    Raises GateRejected, GateExpired; CheckRefused when the run would be refused by now anyway.
    """
    seen = seen_of(FlowRunContext.get())
    if seen is None:
        return
    asked = world().journal.find(run.run_id, Kind.GATE, PROPOSED, Phase.INTENT)
    if asked is not None:
        # Below the line that every gate puts first, which it will put there again.
        shown = str(asked.payload["evidence"]).partition("\n\n")[2]
    else:
        plan = _plan(run, procedure, parameters)
        if isinstance(plan, Plan) and plan.findings:
            raise CheckRefused(
                f"{seen.event} ({seen.host}, {seen.detail}): {'; '.join(plan.findings)}",
                "nothing was changed; as it is now, this runbook would not begin",
            )
        ended = open_leases(run.cluster) if parameters.get("end_others") else []
        shown = evidence(run, seen, plan, ended)
    gate(PROPOSED, evidence=shown, risk="A1")


def evidence(run: CurrentRun, seen: Seen, plan: "Plan | str", ended: Sequence[Lease] = ()) -> str:
    """Return what a person sees before a proposed run begins, in Markdown."""
    lines = list(plan_lines(plan)) if isinstance(plan, Plan) else [plan]
    return "\n".join(
        [
            f"## The monitor proposes {run.runbook} for {run.cluster}\n",
            f"- event: **{seen.event}**, from {seen.host or 'no host'}, since {seen.since}",
            f"- what was seen: {seen.detail}",
            "- so far nothing was changed, and the cluster's lock is not taken",
            *(
                f"- it **ends the lease** of run {each.run_id[:8]} ({each.runbook}), "
                f"{each.owner or 'unknown'}, until {each.deadline:%F %T} UTC: {each.reason}"
                for each in ended
            ),
            "- the runbook's own gates follow\n",
            "### Plan, made now\n",
            "```",
            *lines,
            "```",
        ]
    )


def _plan(
    run: CurrentRun, procedure: Callable[..., object], parameters: Mapping[str, Any]
) -> "Plan | str":
    """Return the plan, or why there is none. In a thread, as its steps are no task runs."""
    here = world()
    made: list[Plan | str] = []

    def make() -> None:
        with use_world(here):
            try:
                made.append(make_plan(catalogue()[run.runbook], procedure, parameters))
            except (PlanImpossible, InventoryError, ShellError) as error:
                made.append(f"no plan: {type(error).__name__}: {error}")

    thread = threading.Thread(target=make, name="plan")
    thread.start()
    thread.join()
    return made[0] if made else "no plan: see the log"


def _shown(value: object) -> str:
    return "".join(c if c.isprintable() else "?" for c in str(value))[:LONGEST]
