"""Runs as the command sees them: found by an abbreviated id or a name, described, cancelled."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flows.api import Api, ApiRefused
from flows.cli_output import UsageRefused
from flows.server import TAG
from runbooks.catalogue import Entry, catalogue

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})  # a crashed run is going to be continued
CANCEL_LIMIT_SECONDS = 60.0
ID_CHARACTERS_MIN = 4
PREFECTS_WORDS = "Flow run encountered an exception: "  # before the error's own


@dataclass(frozen=True, slots=True)
class RunView:
    """One run, as the server knows it."""

    id: str
    name: str
    runbook: str
    cluster: str
    state: str  # Prefect's name of it, such as Running or Suspended
    state_type: str
    message: str
    started: str | None
    started_by: str
    ui_url: str

    @property
    def began(self) -> str:
        """Return month, day and time, without the year: the table has 80 columns."""
        return f"{datetime.fromisoformat(self.started):%m-%d %H:%M}" if self.started else ""

    @property
    def final(self) -> bool:
        return self.state_type in FINAL

    @property
    def waiting(self) -> bool:
        return self.state_type == "PAUSED"


class Runs:
    """Finds and reads runs."""

    def __init__(self, api: Api, ui_url: str) -> None:
        self.api = api
        self.ui_url = ui_url
        self._names: dict[str, str] = {}

    def read(self, run_id: str) -> RunView:
        """Return a run as it is now.  Raises UsageRefused if there is none."""
        try:
            return self.view(self.api.get(f"/flow_runs/{run_id}"))
        except ApiRefused as refused:
            raise UsageRefused(f"no run {run_id}: {refused.reason}") from refused

    def latest(self, limit: int) -> list[RunView]:
        """Return the newest runs of all runbooks."""
        body = {
            "flow_runs": {"tags": {"all_": [TAG]}},
            "sort": "EXPECTED_START_TIME_DESC",
            "limit": limit,
        }
        return [self.view(each) for each in self.api.post("/flow_runs/filter", body)]

    def find(self, wanted: str) -> RunView:
        """Return the run of an id, the beginning of an id, or a name.

        Of several runs with a name the one that has not ended is meant.  Raises UsageRefused.
        """
        runs = self.latest(200)
        found = [run for run in runs if run.id == wanted]
        if not found and len(wanted) >= ID_CHARACTERS_MIN:
            found = [run for run in runs if run.id.startswith(wanted)]
        if not found:
            named = [run for run in runs if run.name == wanted]
            found = [run for run in named if not run.final] if len(named) > 1 else named
        if len(found) == 1:
            return found[0]
        if not found:
            raise UsageRefused(f"no run {wanted!r}; `runbook status` lists the latest")
        several = ", ".join(f"{run.id[:8]} ({run.name})" for run in found)
        raise UsageRefused(f"{wanted!r} means several runs: {several}; give more of the id")

    def view(self, raw: Mapping[str, Any]) -> RunView:
        state = raw.get("state") or {}
        tags = raw.get("tags") or []
        starters = [tag.partition(":")[2] for tag in tags if tag.startswith("started-by:")]
        return RunView(
            id=raw["id"],
            name=raw["name"],
            runbook=self._runbook(raw.get("deployment_id")),
            cluster=str((raw.get("parameters") or {}).get("cluster", "")),
            state=raw.get("state_name") or "",
            state_type=raw.get("state_type") or "",
            message=(state.get("message") or "").removeprefix(PREFECTS_WORDS),
            started=raw.get("start_time"),
            started_by=starters[0] if starters else "",
            ui_url=f"{self.ui_url}/runs/flow-run/{raw['id']}",
        )

    def _runbook(self, deployment_id: str | None) -> str:
        if deployment_id is None:
            return ""
        if deployment_id not in self._names:
            try:
                name = str(self.api.get(f"/deployments/{deployment_id}")["name"])
            except ApiRefused:  # deleted since
                name = ""
            self._names[deployment_id] = name
        return self._names[deployment_id]

    def cancel(self, run: RunView) -> RunView:
        """Cancel a run and wait, for a bounded time, until it is; return it as it is then."""
        if run.final:
            raise UsageRefused(f"run {run.name} has ended already: {run.state}")
        self.api.set_state(run.id, "CANCELLING", "Cancelling", "Cancelled by `runbook cancel`.")
        deadline = time.monotonic() + CANCEL_LIMIT_SECONDS
        while not (now := self.read(run.id)).final and time.monotonic() < deadline:
            time.sleep(0.5)
        return now


def entry_of(runbook: str) -> Entry:
    """Return a catalogue entry.  Raises UsageRefused, naming those that there are."""
    entries = catalogue()
    if runbook in entries:
        return entries[runbook]
    raise UsageRefused(f"no runbook {runbook!r}; there are: {', '.join(sorted(entries))}")
