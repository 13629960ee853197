"""Whether an earlier run wrote to the whiteboard and did not come to its end."""

from tasks.env import world
from tasks.hosts import look_at_hosts
from tasks.journal import Kind, Phase
from tasks.limits import limit
from tasks.runs import current_run

WRITE = "write_zeros"
RESTORE = "restore_backup"
LATEST_RUNS = 200  # of those that began a change


def left_behind(cluster: str, *, held: bool) -> str | None:
    """Return the run whose write was not finished, if it shows: services down, or hands off."""
    looks = look_at_hosts(cluster, limit("look_seconds"))
    at_work = all(each.agent == each.broker == "active" for each in looks)
    return None if at_work and not held else unfinished_write(cluster)


def unfinished_write(cluster: str) -> str | None:
    """Return the newest run that began to write zeros, if it did not complete; else None.

    A restore after it ends the matter: what is stopped then is stopped on purpose.
    """
    journal, run = world().journal, current_run()
    for earlier in journal.runs(cluster, LATEST_RUNS, that=Kind.CHANGE):
        if run is not None and earlier.run_id == run.run_id:
            continue
        entries = journal.entries(earlier.run_id, kinds=(Kind.CHANGE, Kind.RUN))
        begun = {e.step for e in entries if e.kind is Kind.CHANGE and e.phase is Phase.INTENT}
        if RESTORE in begun:
            return None
        if WRITE in begun:
            ends = [e.payload["as"] for e in entries if e.phase is Phase.ENDED]
            return None if ends and ends[-1] == "completed" else earlier.run_id
    return None
