"""Runs as the command sees them: found by an abbreviated id or a name, described, cancelled."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flows.api import Api, ApiRefused
from flows.cli_output import UsageRefused
from flows.server import TAG
from runbooks.catalogue import Entry, catalogue
from tasks.journal import Journal

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})  # a crashed run is going to be continued
CANCEL_LIMIT_SECONDS = 60.0
ID_CHARACTERS_MIN = 4
LISTED_MAX = 200  # as many as the server gives at once
LOOKING_MAX = 3
LOOKS = "A0"  # the risk of a runbook that changes nothing
SOON_SECONDS = 60.0
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

    def __init__(self, api: Api, ui_url: str, journal: Journal) -> None:
        self.api = api
        self.ui_url = ui_url
        self._journal = journal
        self._names: dict[str, str] = {}

    def read(self, run_id: str) -> RunView:
        """Return a run as it is now.  Raises UsageRefused if there is none."""
        try:
            return self.view(self.api.get(f"/flow_runs/{run_id}"))
        except ApiRefused as refused:
            raise UsageRefused(f"no run {run_id}: {refused.reason}") from refused

    def latest(self, limit: int) -> list[RunView]:
        """Return the newest runs: first those that change something, then a few that only look.

        A schedule's runs are made long before they begin; those to come are left out.
        """
        acting, looking = _by_what_they_do()
        found = self._newest({"name": {"any_": acting}}, limit) if acting else []
        return found + (self._newest({"name": {"any_": looking}}, LOOKING_MAX) if looking else [])

    def find(self, wanted: str) -> RunView:
        """Return the run of an id, the beginning of an id, or a name.

        Of several runs with a name the one that has not ended is meant.  Raises UsageRefused.
        """
        if _is_id(wanted):
            return self.read(wanted)
        found = self._beginning_with(wanted) if len(wanted) >= ID_CHARACTERS_MIN else []
        if not found:
            named = self._listed({"flow_runs": {"name": {"any_": [wanted]}}}, LISTED_MAX)
            found = [run for run in named if not run.final] if len(named) > 1 else named
        if len(found) == 1:
            return found[0]
        if not found:
            raise UsageRefused(f"no run {wanted!r}; `runbook status` lists the latest")
        several = ", ".join(f"{run.id[:8]} ({run.name})" for run in found)
        raise UsageRefused(f"{wanted!r} means several runs: {several}; give more of the id")

    def _beginning_with(self, start: str) -> list[RunView]:
        """Return the runs whose id begins so: of all that the journal has, and the newest ones."""
        known = {run.id: run for run in self.latest(LISTED_MAX) if run.id.startswith(start)}
        for run_id in self._journal.run_ids(start):
            # One that ran in plain Python, or that the server has forgotten, cannot be followed.
            if run_id not in known and _is_id(run_id):
                with suppress(UsageRefused):
                    known[run_id] = self.read(run_id)
        return list(known.values())

    def _newest(self, deployments: Mapping[str, Any], limit: int) -> list[RunView]:
        soon = datetime.now(UTC) + timedelta(seconds=SOON_SECONDS)
        filters = {
            "flow_runs": {"expected_start_time": {"before_": soon.isoformat()}},
            "deployments": deployments,
        }
        return self._listed(filters, limit)

    def _listed(self, filters: Mapping[str, Any], limit: int) -> list[RunView]:
        body = {
            **filters,
            "flow_runs": {**filters["flow_runs"], "tags": {"all_": [TAG]}},
            "sort": "EXPECTED_START_TIME_DESC",
            "limit": limit,
        }
        return [self.view(each) for each in self.api.post("/flow_runs/filter", body)]

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


def _by_what_they_do() -> tuple[list[str], list[str]]:
    """Return the runbooks that change something, and those that only look."""
    entries = catalogue().values()
    return (
        [each.id for each in entries if each.risk != LOOKS],
        [each.id for each in entries if each.risk == LOOKS],
    )


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def entry_of(runbook: str) -> Entry:
    """Return a catalogue entry.  Raises UsageRefused, naming those that there are."""
    entries = catalogue()
    if runbook in entries:
        return entries[runbook]
    raise UsageRefused(f"no runbook {runbook!r}; there are: {', '.join(sorted(entries))}")
