"""Following a run: its log and its states as they come, until it ends or waits at a gate."""

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from flows.api import Api
from flows.cli_gates import gate_of
from flows.cli_runs import Runs, RunView
from tasks.decisions import PendingGate
from tasks.journal import Journal

POLL_SECONDS = 1.0
LATE_LOG_SECONDS = 1.5  # a run sends its last lines a moment after its last state
OVERLAP = 50  # lines can arrive out of order
LEVELS = {10: "debug", 20: "", 30: "warning", 40: "error", 50: "critical"}
# Prefect's own lines, which name no step; ours do. The errors among them repeat ours with a
# traceback, which the UI keeps.
NOISE = (
    "Beginning flow run",
    "Finished in state",
    "Suspending flow run",
    "Encountered exception during execution",
    "Engine execution exited",
)
STYLES = {30: "yellow", 40: "red", 50: "red"}


@dataclass(slots=True)
class Follower:
    """Prints what is new of one run."""

    api: Api
    runs: Runs
    journal: Journal
    run_id: str
    console: Console
    seen: set[str] = field(default_factory=set)
    state: str = ""
    began: float = field(default_factory=time.monotonic)

    def until_it_stops(self, past: str | None = None) -> tuple[RunView, PendingGate | None]:
        """Print what happens until the run has ended or waits at a gate other than `past`."""
        with self.console.status("waiting for the server") as status:
            while True:
                run = self.runs.read(self.run_id)
                self._print_logs()
                self._print_state(run)
                minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
                status.update(f"{run.name}: {run.state} {minutes}:{seconds:02d}")
                if run.final:
                    time.sleep(LATE_LOG_SECONDS)
                    self._print_logs()
                    return run, None
                pending = gate_of(self.journal, run)
                if pending is not None and pending.gate != past:
                    return run, pending
                time.sleep(POLL_SECONDS)

    def _print_state(self, run: RunView) -> None:
        if run.state == self.state:
            return
        self.state = run.state
        reason = f": {run.message}" if run.message and run.final else ""
        if run.state == "AwaitingConcurrencySlot":
            reason = ": another run of this runbook is at work (see `runbook status`); after it"
        self.console.print(f"[bold]{run.name}: {run.state}[/bold]{escape(reason)}")

    def _print_logs(self) -> None:
        while fresh := [line for line in self._page() if line["id"] not in self.seen]:
            for line in fresh:
                self._print_line(line)
            self.seen.update(line["id"] for line in fresh)

    def _page(self) -> list[dict[str, Any]]:
        page: list[dict[str, Any]] = self.api.post(
            "/logs/filter",
            {
                "logs": {"flow_run_id": {"any_": [self.run_id]}},
                "sort": "TIMESTAMP_ASC",
                "offset": max(0, len(self.seen) - OVERLAP),
                "limit": 200,
            },
        )
        return page

    def _print_line(self, line: dict[str, Any]) -> None:
        if line["message"].startswith(NOISE):
            return
        at = datetime.fromisoformat(line["timestamp"]).astimezone()
        level = LEVELS.get(line["level"], "")
        text = f"{at:%H:%M:%S} {level + ': ' if level else ''}{line['message']}"
        self.console.print(escape(text), style=STYLES.get(line["level"], ""))
