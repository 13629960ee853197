"""A tiny runbook for the tests of serving: three steps that count their executions, and a gate."""

import os
import time
from pathlib import Path

from prefect import flow

from tasks.env import world
from tasks.gates import TargetForm, gate
from tasks.plan import planning
from tasks.recorded import Outcome, change, check, look
from tasks.refusal import CheckRefused
from tasks.runs import log, recorded_run
from tasks.settings import settings
from tasks.steps import run_once


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


@change
def send(cluster: str, host: str, seconds: float) -> Outcome:
    """Let a host be at work for a while."""
    argv = ["sh", "-c", 'echo begun; sleep "$1" | cat; echo done', "_", str(seconds)]
    run_once(world().shell(cluster, host), argv, step="send", timeout_seconds=seconds + 60)
    return Outcome.CHANGED


@flow(name="sample")
@recorded_run("metadata-too-new")
def sample(
    cluster: str,
    folder: str,
    seconds: float = 0.0,
    expires_seconds: int = 0,
    remote_seconds: float = 0.0,
) -> None:
    """Do three steps, asking before the last one if a gate is wanted.

    Args:
        cluster: the cluster
        folder: where the executions are counted
        seconds: how long the middle step takes
        expires_seconds: how long the gate is open; 0 for no gate
        remote_seconds: how long the first host is at work; 0 for not at all
    """
    if remote_seconds:
        send(cluster, "h1", remote_seconds)
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


@check
def require_no_refusal(cluster: str) -> str:
    """Refuse if a test wants it."""
    if (settings().home / "refuse").exists():
        raise CheckRefused("nothing is wrong", "look elsewhere")
    return cluster


@flow(name="proposed sample")
@recorded_run("leave-global-maintenance")
def proposed_sample(cluster: str, end_others: bool = False) -> None:
    """Leave a file behind, where a run that waits must have left none."""
    read_nothing(cluster)
    require_no_refusal(cluster)
    if planning() is None:
        (settings().home / "proposed-and-approved").touch()
