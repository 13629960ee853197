"""A tiny runbook for the tests of serving: three steps that count their executions, and a gate."""

import os
import time
from pathlib import Path

from prefect import flow

from tasks.gates import TargetForm, gate
from tasks.plan import planning
from tasks.recorded import Outcome, change, look
from tasks.runs import log, recorded_run
from tasks.settings import settings


@change
def count(cluster: str, folder: str, name: str, seconds: float) -> Outcome:
    """Write a line when the step begins, and one when it ends."""
    executions = Path(folder) / "executions"
    with executions.open("a") as file:
        file.write(f"{name} {os.getpid()}\n")
    log().info("step %s", name)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.1)
    return Outcome.CHANGED


@flow(name="sample")
@recorded_run("metadata-too-new")
def sample(cluster: str, folder: str, seconds: float = 0.0, expires_seconds: int = 0) -> None:
    """Do three steps, asking before the last one if a gate is wanted.

    Args:
        cluster: the cluster
        folder: where the executions are counted
        seconds: how long the middle step takes
        expires_seconds: how long the gate is open; 0 for no gate
    """
    count.named("first")(cluster, folder, "first", 0.0)
    count.named("middle")(cluster, folder, "middle", seconds)
    if expires_seconds:
        gate(
            "approve_last",
            evidence=f"## The last step\n\nfolder `{folder}`",
            risk="A3",
            form=TargetForm,
            target=cluster,
            expires_seconds=expires_seconds,
        )
    count.named("last")(cluster, folder, "last", 0.0)


@look
def read_nothing(cluster: str) -> str:
    """Look, as a plan does."""
    return cluster


@flow(name="proposed sample")
@recorded_run("leave-global-maintenance")
def proposed_sample(cluster: str) -> None:
    """Leave a file behind, where a run that waits must have left none."""
    read_nothing(cluster)
    if planning() is None:
        (settings().home / "proposed-and-approved").touch()
