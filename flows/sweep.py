"""What the supervisor looks after beside its children: runs that lost their process."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from flows.api import Api
from tasks.settings import settings

# Before a crashed run is entered again; one that crashes more often has no accident.
PAUSE_SECONDS = (0.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 60.0)

FlowRun = dict[str, Any]


def settle_orphans(api: Api, tag: str) -> list[str]:
    """Mark the runs as crashed that only a dead runner could have gone on with; return them.

    To be called when every process of the earlier runner has ended.  Runs of a work pool are
    other machines' and are left alone.
    """
    settled = []
    for run in own(api.runs(("RUNNING", "PENDING", "CANCELLING"), tag)):
        if run["state_type"] == "CANCELLING":
            api.set_state(run["id"], "CANCELLED", "Cancelled", "Its process had ended already.")
            continue
        api.set_state(run["id"], "CRASHED", "Crashed", "Its runner was restarted.")
        settled.append(str(run["name"]))
    return settled


def continue_crashed(api: Api, tag: str) -> Iterator[str]:
    """Schedule crashed runs again, each time after a longer pause; say what was done.

    Those of a work pool, too: whichever worker takes one enters its next attempt, and the journal
    fences the earlier one.  A run that has crashed too often fails.  (An automation of the server
    could do the first half, but it knows no bound and no pause, and misses what happens while the
    server starts.)
    """
    for run in api.runs(("CRASHED",), tag):
        times = crashes(api, run)
        since = datetime.fromisoformat(run["state"]["timestamp"]).timestamp()
        pause_seconds = PAUSE_SECONDS[min(max(times, 1), len(PAUSE_SECONDS)) - 1]
        if times > settings().crashes_max:
            message = f"It crashed {times} times: look at its logs, then start a new run."
            api.set_state(run["id"], "FAILED", "Failed", message)
            yield f"run {run['name']}: failed, as it crashed {times} times"
        elif time.time() - since >= min(pause_seconds, settings().pause_seconds_max):
            message = "The run continues where its journal ends."
            api.set_state(run["id"], "SCHEDULED", "AwaitingRetry", message)
            yield f"run {run['name']}: it had crashed and is continued"


def own(runs: list[FlowRun]) -> list[FlowRun]:
    return [run for run in runs if not run.get("work_pool_name")]


def crashes(api: Api, run: FlowRun) -> int:
    states = api.get(f"/flow_run_states/?flow_run_id={run['id']}")
    return sum(state["type"] == "CRASHED" for state in states)
