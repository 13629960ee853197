"""Keeping journal and server together, every few seconds, in a thread of the runner.

Gates that nobody answered in time expire; runs whose gate was decided but which were not resumed
are woken; gates that wait are told of; runs that the server ended without their flow having a
word (cancelled, crashed too often, a state set by hand) get their end in the journal; what a
cancelled run has sent to the hosts is stopped there.
"""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from prefect.exceptions import PrefectException
from prefect.logging import get_logger
from sqlalchemy.exc import SQLAlchemyError

from flows.api import Api, ApiRefused, connect
from flows.gate_notices import tell_waiting
from flows.server import TAG, NoServer, Place, read_record
from tasks.cancelled import Cancellations
from tasks.env import world
from tasks.gate_prefect import nudge
from tasks.gates import expire_gates, pending_gates
from tasks.inventory import InventoryError
from tasks.journal import Draft, Entry, Journal, JournalError, Kind, Phase
from tasks.policy import PolicyError
from tasks.settings import settings

EVERY_SECONDS = 3.0
RESUME_SECONDS = 6.0  # what the one who decided is given to resume the run himself
FINAL = ("COMPLETED", "FAILED", "CANCELLED")

TROUBLE = (
    ApiRefused,
    NoServer,
    InventoryError,
    JournalError,
    PolicyError,
    PrefectException,
    SQLAlchemyError,
    httpx.HTTPError,
)


@dataclass(slots=True)
class JournalSweep:
    """One sweep, and what it need not look at again."""

    api: Api
    journal: Journal
    ui_url: str = ""
    noted: set[str] = field(default_factory=set)
    cancellations: Cancellations = field(default_factory=Cancellations)

    def once(self) -> None:
        """Look at all waiting and ended runs."""
        for gate in expire_gates():
            log(f"run {gate.run_id}: gate {gate.gate} expired")
        for line in tell_waiting(self.api, self.journal, self.ui_url):
            log(line)
        for run in self.api.runs(("PAUSED",), TAG):
            if decided(self.journal.entries(run["id"])) and not pending_gates(
                self.journal, run["id"]
            ):
                log(f"run {run['id']}: its gate is decided; waking it")
                nudge(run["id"])
        for run in self.api.runs(FINAL, TAG):
            # By its state: a run that is retried may end again.
            if run["state"]["id"] not in self.noted and self._stopped(run):
                self.note_end(run["id"])
                self.noted.add(run["state"]["id"])

    def _stopped(self, run: dict[str, Any]) -> bool:
        """End what a cancelled run left at work on the hosts; return whether that is settled."""
        if run["state_type"] != "CANCELLED":
            return True
        now = self.api.get(f"/flow_runs/{run['id']}")  # it may have been retried meanwhile
        if now["state_type"] != "CANCELLED":
            return True
        return self.cancellations.end(run["id"], now["state"]["message"] or "cancelled")

    def note_end(self, run_id: str) -> None:
        """Write the end of a run that could not write it itself."""
        marks = [
            entry
            for entry in self.journal.entries(run_id)
            if entry.kind is Kind.RUN and entry.phase in (Phase.ATTEMPT, Phase.ENDED)
        ]
        if not marks or marks[-1].phase is Phase.ENDED:
            return
        # It may have been retried meanwhile: only what ended after its attempt began has ended.
        run = self.api.get(f"/flow_runs/{run_id}")
        if run["state_type"] not in FINAL:
            return
        payload = {"as": run["state_name"].lower(), "why": run["state"]["message"] or ""}
        draft = Draft(
            run_id,
            Kind.RUN,
            marks[-1].step,
            Phase.ENDED,
            attempt=marks[-1].attempt,
            via="prefect",
            payload=payload,
        )
        self.journal.append(draft)
        log(f"run {run_id}: {run['state_name']}, noted in the journal")


def decided(entries: list[Entry]) -> bool:
    """Tell whether the last word on the run's gates is a decision of some seconds ago."""
    words = [
        entry
        for entry in entries
        if entry.kind is Kind.GATE and entry.phase in (Phase.INTENT, Phase.DECISION)
    ]
    if not words or words[-1].phase is not Phase.DECISION:
        return False
    return datetime.now(UTC) - words[-1].at > timedelta(seconds=RESUME_SECONDS)


def log(text: str) -> None:
    get_logger("runbooks").info(text)


def keep_sweeping() -> None:
    """Sweep for as long as the process lives; trouble is logged and tried again."""
    sweep: JournalSweep | None = None
    while True:
        time.sleep(EVERY_SECONDS)
        try:
            if sweep is None:
                place = Place(settings().home.absolute())
                api = connect(place)
                ui_url = settings().ui_url or read_record(place).ui_url
                sweep = JournalSweep(api, world().journal, ui_url)
            sweep.once()
        except TROUBLE as trouble:
            log(f"sweep: {type(trouble).__name__}: {trouble}")


def start() -> None:
    """Start the sweeping thread."""
    threading.Thread(target=keep_sweeping, name="journal-sweep", daemon=True).start()
