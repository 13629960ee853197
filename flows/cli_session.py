"""What a command works with, and following one run through its gates."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from flows.api import Api, connect
from flows.cli_follow import Follower
from flows.cli_gates import answer_gate, ask, one_more
from flows.cli_output import (
    COMPLETED,
    DETACHED,
    FAILED,
    WAITING,
    complain,
    err,
    out,
    print_json,
    print_markdown,
    tell,
)
from flows.cli_runs import Runs, RunView
from flows.cli_signing import who_answers
from flows.environment import SILENT
from flows.server import Place, ServerRecord, read_record
from runbooks.catalogue import catalogue
from tasks.decisions import AnswerRefused, PendingGate
from tasks.journal import Draft, Journal, Kind, Phase, UnknownRun
from tasks.settings import settings
from tasks.signing import SigningFailed
from tasks.timeline import WAY_BACK
from tasks.way_back import way_back_lines

STOP_LIMIT_SECONDS = 20.0
STOP_POLL_SECONDS = 0.5
MARKS = (Phase.ATTEMPT, Phase.ENDED)


@dataclass(frozen=True, slots=True)
class How:
    """How a run is followed."""

    approver: str | None = None
    wait: bool = False
    as_json: bool = False
    detach: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """The server and the journal of one home."""

    api: Api
    runs: Runs
    journal: Journal
    record: ServerRecord

    def note_cancel(self, run: RunView, who: str) -> None:
        """Record who cancels, if the run has got as far as having a journal."""
        payload = {"what": "cancel asked for"}
        draft = Draft(
            run.id, Kind.RUN, run.runbook, Phase.NOTE, actor=who, via="command", payload=payload
        )
        try:
            self.journal.append(draft)
        except UnknownRun:
            return

    def stopped_on_hosts(self, run: RunView) -> Iterator[str]:
        """Say what was at work on the hosts, once the server has ended the cancelled run there.

        It is waited for, for a bounded time: a host may not answer.
        """
        deadline = time.monotonic() + STOP_LIMIT_SECONDS
        while not _has_ended(self.journal, run.id) and time.monotonic() < deadline:
            time.sleep(STOP_POLL_SECONDS)
        for entry in self.journal.entries(run.id, kinds=(Kind.REMOTE,)):
            if entry.phase is Phase.OUTCOME and entry.payload["how"] == "stopped":
                yield f"{entry.host}: {entry.step}: {entry.payload['output']}"
        if not _has_ended(self.journal, run.id):
            yield f"not all is stopped on the hosts yet; see: runbook status {run.id[:8]}"

    def tell_way_back(self, run: RunView) -> None:
        """Say what a run leaves behind that did not complete and could not tell it itself."""
        entry = catalogue().get(run.runbook)
        entries = self.journal.entries(run.id)
        told = any(each.step == WAY_BACK and each.phase is Phase.NOTE for each in entries)
        if entry is None or (told and run.state_type != "CANCELLED"):
            return
        tell("\n" + "\n".join(way_back_lines(self.journal, run.id, entry)))


def _has_ended(journal: Journal, run_id: str) -> bool:
    marks = [e for e in journal.entries(run_id, kinds=(Kind.RUN,)) if e.phase in MARKS]
    return not marks or marks[-1].phase is Phase.ENDED


def open_session() -> Session:
    """Return the session of the home in the settings.  Raises NoServer, ServeRefused."""
    chosen = settings()
    place = Place(chosen.home.absolute())
    api = connect(place)
    # Should a command import Prefect after all: without the caller's profiles, and silent.
    os.environ.update({**SILENT, "PREFECT_HOME": str(place.prefect_home)})
    record = read_record(place)
    journal = Journal(chosen.journal())
    return Session(api, Runs(api, record.ui_url, journal), journal, record)


def follow_to_the_end(session: Session, run_id: str, how: How) -> int:
    """Follow a run, asking at gates where that is possible; return the exit code."""
    console = err if how.as_json else out
    follower = Follower(session.api, session.runs, session.journal, run_id, console)
    try:
        run, pending = through_gates(session, follower, how)
    except KeyboardInterrupt:
        short = run_id[:8]
        tell(
            f"\nno longer following; the run goes on\n  follow: runbook follow {short}\n"
            f"  cancel: runbook cancel {short}"
        )
        return DETACHED
    if how.as_json:
        print_json({"run": run, "gate": pending})
    if pending is not None:
        return WAITING
    if run.state_type == "COMPLETED":
        return COMPLETED
    session.tell_way_back(run)
    return FAILED


def through_gates(
    session: Session, follower: Follower, how: How
) -> tuple[RunView, PendingGate | None]:
    """Follow until the run has ended, or waits at a gate that cannot be asked here."""
    past = None
    while True:
        run, pending = follower.until_it_stops(past)
        if pending is None:
            return run, None
        if how.wait:
            show_gate(pending, run)
            past = pending.gate
        elif sys.stdin.isatty() and err.is_terminal:
            ask_here(session, pending, how.approver)
        else:
            if not how.as_json:
                print_markdown(pending.evidence)
            show_gate(pending, run)
            return run, pending


def ask_here(session: Session, pending: PendingGate, approver: str | None) -> None:
    """Ask on the terminal until the answer fits."""
    while True:
        try:
            who = who_answers(pending, approver, None)
            answer = ask(pending, who)
            decided = answer_gate(session.api, session.journal, pending, answer, who=who)
        except (AnswerRefused, SigningFailed) as refused:
            complain(f"{refused}; once more, please")
        else:
            if decided is None:
                tell(one_more(session.journal, pending))
            return


def show_gate(pending: PendingGate, run: RunView) -> None:
    """Say which gate waits, and how to answer it."""
    words = "".join(
        f" --set {name}={'TARGET' if name == 'target' else '...'}"
        for name in pending.form_schema.get("required", ())
        if name not in {"decision", "approver", "reason"}
    )
    short = run.id[:8]
    name = "" if pending.signed_only else " --as NAME"
    tell(
        f"\n{run.name} waits at gate {pending.gate} ({pending.risk}), "
        f"open until {pending.expires_at:%F %T} UTC\n"
        f"  approve: runbook approve {short}{name} --reason TEXT{words}\n"
        f"  reject:  runbook reject {short}{name} --reason TEXT\n"
        f"  or in the UI: {run.ui_url}"
    )
