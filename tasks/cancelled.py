"""The end of a cancelled run: what it sent to the hosts is stopped, and the way back is told.

Prefect ends the process of a cancelled run and knows nothing of the hosts; nothing of ours runs
in that process any more, nor reliably in a hook. So whoever serves the runs calls this.
"""

from contextlib import suppress
from dataclasses import dataclass, field

from runbooks.catalogue import catalogue
from tasks.console_password import forget_password
from tasks.env import ShellError, world
from tasks.inventory import InventoryError
from tasks.journal import Entry, Journal, JournalError, Kind, Phase, Run, UnknownRun
from tasks.lock import holder
from tasks.report import tell_way_back
from tasks.runs import entered_run, log
from tasks.step_remote import StepFailed, stop_step, wait
from tasks.steps import record_ended, record_stopped
from tasks.under_way import step_of

PATIENCE_SECONDS = 300.0  # with a host that does not answer
TERM_SECONDS = 5.0
READ_SECONDS = 30.0
CANCELLED = "cancelled"


class RunCancelled(Exception):
    """A run was cancelled."""

    ended_as = CANCELLED


@dataclass(slots=True)
class Cancellations:
    """Ends cancelled runs, and remembers since when it tries."""

    since: dict[str, float] = field(default_factory=dict)

    def end(self, run_id: str, why: str) -> bool:
        """Stop what a run sent, and end it; return whether there is nothing left to be done.

        May be called again and again: what is done is in the journal.
        """
        journal, clock = world().journal, world().clock
        try:
            run = journal.run(run_id)
        except UnknownRun:
            return True
        forget_password(run_id)
        unknown = _unknown_ends(journal, run_id)
        if not _to_be_ended(journal, run_id, unknown):
            return True
        since = self.since.setdefault(run_id, clock.monotonic())
        said = (_stopped(run.cluster, intent) for intent in unknown)
        troubles = [trouble for trouble in said if trouble]
        for trouble in troubles:
            log().warning("run %s was cancelled: %s", run_id, trouble)
        if troubles and clock.monotonic() - since < PATIENCE_SECONDS:
            return False
        try:
            _end(journal, run, "; ".join([why, *troubles]))
        except JournalError as error:  # its lock was broken, say: then it can go on no more
            log().warning("run %s was cancelled: %s", run_id, error)
        del self.since[run_id]
        return True


def _unknown_ends(journal: Journal, run_id: str) -> list[Entry]:
    """Return the intents of the remote steps of a run whose end the journal does not have."""
    entries = journal.entries(run_id, kinds=(Kind.REMOTE,))
    ended = {each.step for each in entries if each.phase is Phase.OUTCOME}
    begun = {each.step: each for each in entries if each.phase is Phase.INTENT}
    return [entry for step, entry in begun.items() if step not in ended]


def _to_be_ended(journal: Journal, run_id: str, unknown: list[Entry]) -> bool:
    marks: list[Entry] = [
        entry
        for entry in journal.entries(run_id, kinds=(Kind.RUN,))
        if entry.phase in (Phase.ATTEMPT, Phase.ENDED)
    ]
    if not marks or marks[-1].phase is not Phase.ENDED:
        return bool(marks)
    # Its process may have had the time to say that it failed, and not to stop anything.
    return bool(unknown) and marks[-1].payload.get("as") != CANCELLED


def _stopped(cluster: str, intent: Entry) -> str | None:
    """Stop one step and record it; return why that could not be done, if so."""
    try:
        this = step_of(cluster, intent)
        match stop_step(this, TERM_SECONDS):
            case "ended":
                record_ended(this, wait(this, READ_SECONDS, lambda text: None))
            case "stopped":
                record_stopped(this, "stopped, as the run was cancelled")
            case "lost":
                record_stopped(
                    this,
                    "it did not run any more when the run was cancelled, and"
                    " left no exit code: whether it did its work is unknown",
                )
            case _:
                record_stopped(this, "never begun, as the run was cancelled")
    except (ShellError, StepFailed, InventoryError) as error:
        step_id = intent.payload["step_id"]
        return f"step {step_id} may still be at work on {intent.host}: {error}"
    return None


def _end(journal: Journal, run: Run, why: str) -> None:
    """Enter the run once more, so that no other process goes on with it, and end it there."""
    held = holder(journal, run.cluster)
    mutates = held is not None and held.run_id == run.run_id
    with (
        suppress(RunCancelled),
        entered_run(
            run.runbook,
            parameters={**run.parameters, "cluster": run.cluster},
            run_id=run.run_id,
            mutates=mutates,
        ),
    ):
        cancelled = RunCancelled(why)
        if run.runbook in catalogue():
            tell_way_back(catalogue()[run.runbook], cancelled)
        raise cancelled
