"""The limits of the run in force, from its runbook's entry in the catalogue."""

from runbooks.catalogue import catalogue
from tasks.runs import current_run


class NoLimit(Exception):
    """A task asked for a limit that its runbook's entry does not have; raised by limit."""


def limit(name: str) -> float:
    """Return a limit of the run in force, in the unit of its name. Raises NoLimit."""
    run = current_run()
    if run is None:
        raise NoLimit(f"{name}: no run is in force")
    entry = catalogue().get(run.runbook)
    if entry is None or name not in entry.limits:
        raise NoLimit(f"{name}: add it to [limits] of the runbook {run.runbook}")
    return entry.limits[name]
