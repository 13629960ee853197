"""A runbook whose remote step is killed on its host while it runs, the first time it runs."""

from pathlib import Path

from prefect import flow

from tasks.env import world
from tasks.recorded import Outcome, change
from tasks.runs import recorded_run
from tasks.steps import run_once

# Kills its whole process group, as a host does that goes down: no exit code is left.
DIES_AT_FIRST = """
echo working; echo x >>"$1"
[ "$(wc -l <"$1")" -ge 2 ] || kill -9 0
echo done
"""


@change
def act(cluster: str, host: str, count: str) -> Outcome:
    run_once(
        world().shell(cluster, host),
        ["sh", "-c", DIES_AT_FIRST, "_", count],
        step="act",
        timeout_seconds=20,
    )
    return Outcome.CHANGED


@change
def go_on(cluster: str, count: str) -> Outcome:
    with Path(count).open("a", encoding="utf-8") as lines:
        lines.write("went on\n")
    return Outcome.CHANGED


@flow(name="lost")
@recorded_run("lost")
def lose_and_go_on(cluster: str, count: str) -> None:
    """Act, which is lost, and go on."""
    act(cluster, "h1", count)
    go_on(cluster, count)
