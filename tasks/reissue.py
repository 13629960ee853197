"""Commands that a run gives again when an earlier attempt's came to nothing: `step.1`, `step.2`.

A remote step runs once under its name, for good: one that failed would fail every retry of the
run. Where giving the command again is what an operator would do (a package manager, engine-setup),
each attempt has a name of its own; one that is still under way is attached to.
"""

from dataclasses import dataclass

from tasks.env import world
from tasks.journal import Kind, Phase
from tasks.plan import planning
from tasks.runs import current_run


@dataclass(frozen=True, slots=True)
class Issue:
    """One giving of the command."""

    name: str
    under_way: bool  # given, and not known to have ended: attach to it
    again: bool  # an earlier one has ended


def ended(host: str, name: str) -> bool:
    """Return whether this remote step of the run in force is known to have ended."""
    run = current_run()
    if run is None:
        return False
    found = world().journal.find(run.run_id, Kind.REMOTE, f"{name}@{host}", Phase.OUTCOME)
    return found is not None


def next_issue(host: str, step: str) -> Issue:
    """Return which giving of a step is the turn of the run in force."""
    plan = planning()
    if plan is not None:
        return Issue(f"{step}.1", plan.would_change, again=False)
    run = current_run()
    number = 1
    if run is None:
        return Issue(f"{step}.1", under_way=False, again=False)
    while ended(host, f"{step}.{number}"):
        number += 1
    name = f"{step}.{number}"
    intent = world().journal.find(run.run_id, Kind.REMOTE, f"{name}@{host}", Phase.INTENT)
    return Issue(name, intent is not None, again=number > 1)
