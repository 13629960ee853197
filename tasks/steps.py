"""The exactly-once remote step: a command that runs detached on a host, under a step id.

The command is claimed on the host by its id and never started twice. When the connection, this
process or the whole control node dies, the next attempt attaches to it or reads its result.
Claimed, not running and without an exit code is LOST: a person decides.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from uuid import uuid4

from tasks.decisions import Decision, decision_of
from tasks.env import Shell, world
from tasks.journal import Draft, Entry, Kind, Phase
from tasks.plan import planning
from tasks.runs import current_run
from tasks.step_output import LoggedOutput
from tasks.step_remote import (
    Poll,
    Step,
    StepFailed,
    StepLost,
    StepOverdue,
    StepStopped,
    start,
    stop_step,
    wait,
)
from tasks.step_scripts import POLL

__all__ = [
    "StepFailed",
    "StepLost",
    "StepOverdue",
    "StepResult",
    "StepStopped",
    "claimed",
    "lost_gate",
    "record_as_done",
    "record_ended",
    "record_stopped",
    "run_once",
    "stop",
]

AGAIN = "run it again"
IT_WAS_DONE = "it was done"
NO_EXIT_CODE = -1
STEP_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,120}$")


@dataclass(frozen=True, slots=True)
class StepResult:
    """A remote step that ended."""

    host: str
    exit_code: int
    stdout: str  # with stderr; the last 256 KiB
    how: str  # started | attached | recorded
    sha256: str  # of the whole output
    place: str  # of the output, on the host


def run_once(
    shell: Shell,
    argv: Sequence[str],
    *,
    step: str,
    timeout_seconds: float,
    progress: Callable[[str], None] | None = None,
    accept: Collection[int] = (0,),
    run_id: str | None = None,
) -> StepResult:
    """Run a command on a host once in the run, and wait for its end.

    A script is `["sh", "-c", SCRIPT, "_", *args]`: data goes in as arguments of its own.
    `progress` is called with the output as it grows. `run_id` is for use outside of a run, where
    nothing is recorded.
    Raises: StepFailed, StepLost, StepStopped, StepOverdue, LostContact.
    """
    if not STEP_NAME.match(step):
        raise ValueError(f"not a step name: {step!r}")
    plan = planning()
    if plan is not None:
        plan.command(shell.host, step, argv)
    run = current_run()
    run_id = run_id or f"no-run-{uuid4()}" if run is None else run.run_id
    this = _step(shell, step, tuple(argv), run_id)
    entry = _recorded(this)
    if entry is not None:
        return _judged(this, _result_of(entry), accept)
    _note(this, Phase.INTENT, {"argv": list(this.argv), "step_id": this.step_id})
    how = start(this)
    poll = _waited(this, timeout_seconds, progress)
    result = StepResult(shell.host, poll.exit_code, this.output.text, how, poll.sha256, this.place)
    _note(this, Phase.OUTCOME, _payload(result, poll.size_bytes))
    return _judged(this, result, accept)


def _waited(this: Step, timeout_seconds: float, progress: Callable[[str], None] | None) -> Poll:
    logged = LoggedOutput(this.shell.host, this.name, this.place)
    try:
        return wait(this, timeout_seconds, progress or logged)
    except StepFailed as error:
        _note(this, Phase.FAILURE, {"error": type(error).__name__, "why": str(error)})
        raise
    finally:
        logged.end()


def claimed(shell: Shell, *, step: str) -> bool:
    """Tell whether the host knows this step of the run in force: it was begun there, or ended.

    The journal cannot tell: an intent is written before the host is asked.
    """
    run = current_run()
    if run is None or planning() is not None:
        return False
    this = _step(shell, step, (), run.run_id)
    return this.ask(POLL, "0", "0", "1").checked().stdout.split()[0] != "NONE"


def stop(shell: Shell, *, step: str, run_id: str, term_seconds: float = 5.0) -> str:
    """Stop a step's whole process group: TERM, then KILL. Return stopped, ended, lost or none."""
    this = Step(shell, step, (), run_id, world().step_store)
    return stop_step(this, term_seconds)


def lost_gate(step: str, host: str, number: int) -> str:
    """Return the name of the gate that asks what became of a lost step."""
    return re.sub("[^A-Za-z0-9]+", "_", f"lost_{step}_{host}_{number}")


def record_as_done(this: Step, decision: Decision) -> None:
    """Record a lost step as done, on a person's word; then it is not run again."""
    how = f"done, says {decision.approver}"
    _note(this, Phase.OUTCOME, _payload(StepResult(this.shell.host, 0, "", how, "", this.place), 0))


def record_stopped(this: Step, why: str) -> None:
    """Record from outside of the run that a step has no end of its own, and why."""
    result = StepResult(this.shell.host, NO_EXIT_CODE, why, "stopped", "", this.place)
    _append(this, _payload(result, 0))


def record_ended(this: Step, poll: Poll) -> None:
    """Record from outside of the run how a step ended that nobody waited for."""
    text = this.output.text
    result = StepResult(this.shell.host, poll.exit_code, text, "ended", poll.sha256, this.place)
    _append(this, _payload(result, poll.size_bytes))


def _append(this: Step, payload: dict[str, object]) -> None:
    draft = Draft(
        *(this.run_id, Kind.REMOTE, _entry_name(this), Phase.OUTCOME),
        host=this.shell.host,
        via="sweep",
        payload=payload,
    )
    world().journal.append(draft)


def _step(shell: Shell, name: str, argv: tuple[str, ...], run_id: str) -> Step:
    """Return a step under its present number: one more for each time it was to be run again."""
    number, journal = 1, world().journal
    while current_run() is not None:
        decision = decision_of(journal, run_id, lost_gate(name, shell.host, number))
        if decision is None or decision.fields.get("outcome") != AGAIN:
            break
        number += 1
    return Step(shell, name, argv, run_id, world().step_store, number)


def _judged(this: Step, result: StepResult, accept: Collection[int]) -> StepResult:
    if result.exit_code == NO_EXIT_CODE:
        raise StepStopped(
            f"{this.shell.host}: step {this.step_id}: {result.stdout}; start a new run"
        )
    if result.exit_code in accept:
        return result
    raise StepFailed(
        f"{this.shell.host}: step {this.step_id} ended with exit code {result.exit_code}:"
        f" {result.stdout[-500:].strip() or 'no output'} (all of it in {result.place})"
    )


def _recorded(this: Step) -> Entry | None:
    run = current_run()
    if run is None:
        return None
    return world().journal.find(run.run_id, Kind.REMOTE, _entry_name(this), Phase.OUTCOME)


def _entry_name(this: Step) -> str:
    return f"{this.name}@{this.shell.host}"


def _note(this: Step, phase: Phase, payload: dict[str, object]) -> None:
    run = current_run()
    if run is not None:
        draft = run.draft(
            Kind.REMOTE, _entry_name(this), phase, host=this.shell.host, payload=payload
        )
        world().journal.append(draft)


def _payload(result: StepResult, size_bytes: int) -> dict[str, object]:
    return {
        "exit_code": result.exit_code,
        "how": result.how,
        "sha256": result.sha256,
        "place": result.place,
        "size_bytes": size_bytes,
        "output": result.stdout,
    }


def _result_of(entry: Entry) -> StepResult:
    was = entry.payload
    return StepResult(
        entry.host, was["exit_code"], was["output"], "recorded", was["sha256"], was["place"]
    )
