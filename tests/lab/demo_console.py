"""What the demo prints, and how it calls the `runbook` command, as an operator would."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab.commands import LabError

CALL_WITHIN_SECONDS = 120
SERVE_WITHIN_SECONDS = 300


class Console:
    """Lines with the seconds since the start, so that the operator sees where time goes."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def say(self, line: str) -> None:
        print(f"[{time.monotonic() - self.began:5.0f} s] {line}", flush=True)

    def title(self, text: str) -> None:
        print(f"\n== {text} ==", flush=True)

    def fail(self, line: str) -> None:
        print(f"demo: {line}", file=sys.stderr, flush=True)

    def simulated(self, what: str, reasons: list[str]) -> None:
        """Say first that hosts are simulated, what of them, and why."""
        print(what)
        print("Why, and not on hosts that are booted:")
        for reason in reasons:
            print(f"  - {reason}")
        sys.stdout.flush()

    def record(self, command: "Command", run_id: str, hint: str) -> None:
        """Print the audit record of the run, and where everything is."""
        self.title("The audit record")
        command.call("status", run_id)
        self.title("Left up until `make demo-down`")
        print(f"UI:       {command.ui_url()}  (log in with the line in {command.credentials_file})")
        print(f"run:      {command.environment_line()} .venv/bin/runbook status {run_id[:8]}")
        print(f"hosts:    {hint}", flush=True)


class Command:
    """The `runbook` command with the demo's own home and inventory."""

    def __init__(self, home: Path, inventory: Path) -> None:
        self.home, self.inventory = home, inventory
        self.program = str(Path(sys.executable).parent / "runbook")
        self.credentials_file = home / "credentials"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "RUNBOOKS_HOME": str(self.home),
            "RUNBOOKS_INVENTORY": str(self.inventory),
        }

    def environment_line(self) -> str:
        return f"RUNBOOKS_HOME={self.home} RUNBOOKS_INVENTORY={self.inventory}"

    def call(self, *words: str) -> int:
        """Run it on this terminal; return its exit code."""
        return subprocess.run([self.program, *words], env=self.environment, check=False).returncode

    def read(
        self,
        *words: str,
        accept: tuple[int, ...] = (0,),
        timeout_seconds: float = CALL_WITHIN_SECONDS,
    ) -> str:
        """Run it and return what it printed. Raises LabError with what it complained of."""
        try:
            ran = subprocess.run(
                [self.program, *words],
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(
                f"runbook {' '.join(words)}: no end after {timeout_seconds:g} s"
            ) from error
        if ran.returncode not in accept:
            raise LabError(f"runbook {' '.join(words)}: exit {ran.returncode}: {ran.stderr}")
        return ran.stdout

    def serve(self) -> None:
        """Start the control node's server and runner, unless they are up."""
        record = self.home / "server.json"
        if record.exists() and self._answers():
            return
        # The first start compiles all of Prefect.
        self.read("serve", "--detach", "--port", "0", timeout_seconds=SERVE_WITHIN_SECONDS)

    def _answers(self) -> bool:
        try:
            self.read("status", "--json")
        except LabError:
            return False
        return True

    def stop_serving(self) -> None:
        """Stop them; nothing happens if they are down."""
        self.read("serve", "--stop", accept=(0, 2, 4))

    def ui_url(self) -> str:
        return str(json.loads((self.home / "server.json").read_text())["ui_url"])

    def unfinished(self, runbook: str) -> str | None:
        """The id of a run of it that has not ended, if there is one."""
        runs = json.loads(self.read("status", "--json"))["runs"]
        ended = {"COMPLETED", "FAILED", "CANCELLED"}
        going = [run for run in runs if run["runbook"] == runbook]
        return next((str(run["id"]) for run in going if run["state_type"] not in ended), None)

    def start(self, runbook: str) -> str:
        """Start a run and return its id."""
        words = ("run", runbook, "--cluster", "lab", "--detach", "--json")
        return str(json.loads(self.read(*words))["run"]["id"])

    def follow(self, run_id: str) -> "subprocess.Popen[bytes]":
        """Follow the run on this terminal."""
        words = [self.program, "follow", run_id, "--wait"]
        return subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL)

    def status(self, run_id: str) -> dict[str, Any]:
        """The run as `runbook status --json` shows it."""
        found: dict[str, Any] = json.loads(self.read("status", run_id, "--json"))
        return found

    def approve(self, run_id: str, gate: Mapping[str, Any]) -> None:
        """Approve what waits, with the target typed as a person would."""
        words = ["approve", run_id, "--as", "demo", "--reason", "make demo with DEMO_APPROVE=yes"]
        if gate.get("target"):
            words += ["--set", f"target={gate['target']}"]
        self.read(*words)
