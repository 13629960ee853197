"""Helpers of the tests of remote steps."""

import os
import time
from pathlib import Path
from typing import Any

from tasks import steps
from tasks.steps import StepResult


def run_once(shell: Any, argv: list[str], **more: Any) -> StepResult:
    return steps.run_once(shell, argv, run_id="no-run", **more)


def sh(script: str, *args: str) -> list[str]:
    return ["sh", "-c", script, "_", *args]


def pid_of(store: Path, step: str, run_id: str = "no-run") -> int:
    path = store / f"{run_id}.{step}" / "pid"
    while not path.exists():
        time.sleep(0.02)
    return int(path.read_text().split()[0])


def wait_dead(pid: int) -> None:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError(f"{pid} still runs")
