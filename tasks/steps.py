"""The exactly-once remote step: a command that runs detached on a host, under a step id.

The command is claimed on the host by its id and never started twice. When the connection, this
process or the whole control node dies, the next attempt attaches to it or reads its result.
Claimed, not running and without an exit code is LOST: a person decides.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.env import LostContact, Ran, Shell, world
from tasks.journal import Entry, Kind, Phase
from tasks.runs import current_run, log
from tasks.step_scripts import POLL, START, STOP

STEP_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,120}$")
CHUNK_BYTES = 65_536
KEPT_BYTES = 262_144  # of the output, from its end
POLL_TRIES = 12  # of 0.2 s each on the host
ANSWER_SECONDS = 30.0  # for one poll
CLAIMED_SECONDS = 15.0  # from the claim to the pid file
OUT_OF_CONTACT_SECONDS = 120.0  # tolerated while a step runs


class StepFailed(Exception):
    """A remote step ended with an exit code that is not accepted, or cannot be run. Not retried."""


class StepLost(StepFailed):
    """A remote step was claimed, does not run and left no exit code: a person has to look."""


class StepStopped(StepFailed):
    """A remote step was stopped by an operator."""


class StepOverdue(StepFailed):
    """A remote step has not ended within its time; it still runs on the host."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """A remote step that ended."""

    host: str
    exit_code: int
    stdout: str  # with stderr; the last 256 KiB
    how: str  # started | attached | recorded
    sha256: str  # of the whole output
    place: str  # of the output, on the host


@dataclass(slots=True)
class _Output:
    """What was read so far."""

    offset: int = 0
    text: str = ""

    def add(self, text: str, offset: int) -> None:
        self.offset = offset
        self.text = (self.text + text)[-KEPT_BYTES:]


@dataclass(frozen=True, slots=True)
class _Poll:
    state: str
    exit_code: int
    size_bytes: int
    next_offset: int
    sha256: str
    text: str


@dataclass(frozen=True, slots=True)
class _Step:
    """One remote step: where it is and what it runs."""

    shell: Shell
    name: str
    argv: tuple[str, ...]
    run_id: str
    store: Path
    output: _Output = field(default_factory=_Output)

    @property
    def step_id(self) -> str:
        return f"{self.run_id}.{self.name}"

    @property
    def place(self) -> str:
        return str(self.store / self.step_id / "out")

    def ask(self, script: str, *args: str) -> Ran:
        words = ["sh", "-c", script, "step", str(self.store), self.step_id, *args]
        return self.shell.run(words, timeout_seconds=ANSWER_SECONDS)


def run_once(
    shell: Shell,
    argv: Sequence[str],
    *,
    step: str,
    timeout_seconds: float,
    progress: Callable[[str], None] | None = None,
    accept: Collection[int] = (0,),
) -> StepResult:
    """Run a command on a host once in the run, and wait for its end.

    A script is `["sh", "-c", SCRIPT, "_", *args]`: data goes in as arguments of its own.
    `progress` is called with the output as it grows. Outside of a run the id is the step's.
    Raises: StepFailed, StepLost, StepStopped, StepOverdue, LostContact.
    """
    if not STEP_NAME.match(step):
        raise ValueError(f"not a step name: {step!r}")
    run = current_run()
    run_id = "no-run" if run is None else run.run_id
    this = _Step(shell, step, tuple(argv), run_id, world().step_store)
    entry = _recorded(this)
    if entry is not None:
        return _judged(this, _result_of(entry), accept)
    _note(this, Phase.INTENT, {"argv": list(this.argv), "step_id": this.step_id})
    how = _start(this)
    try:
        poll = _wait(this, timeout_seconds, progress or _log_progress(this))
    except StepFailed as error:
        _note(this, Phase.FAILURE, {"error": type(error).__name__, "why": str(error)})
        raise
    result = StepResult(shell.host, poll.exit_code, this.output.text, how, poll.sha256, this.place)
    _note(this, Phase.OUTCOME, _payload(result, poll.size_bytes))
    return _judged(this, result, accept)


def stop(shell: Shell, *, step: str, run_id: str, term_seconds: float = 5.0) -> str:
    """Stop a step's whole process group: TERM, then KILL. Return stopped, ended or none."""
    this = _Step(shell, step, (), run_id, world().step_store)
    return this.ask(STOP, str(max(1, int(term_seconds / 0.2)))).checked().stdout.strip()


def _start(this: _Step) -> str:
    digest = hashlib.sha256("\0".join(this.argv).encode()).hexdigest()
    how = this.ask(START, digest, *this.argv).checked().stdout.strip()
    if how == "other":
        raise StepFailed(
            f"{this.shell.host}: step {this.step_id} was started with another command (see"
            f" {this.place.removesuffix('out')}argv there); start a new run"
        )
    return how


def _wait(this: _Step, timeout_seconds: float, progress: Callable[[str], None]) -> _Poll:
    clock = world().clock
    deadline = clock.monotonic() + timeout_seconds
    claimed_until = clock.monotonic() + CLAIMED_SECONDS
    while True:
        poll = _poll_through_trouble(this, deadline)
        if poll.text:
            this.output.add(poll.text, poll.next_offset)
            progress(poll.text)
        _refuse_trouble(this, poll, claimed=clock.monotonic() >= claimed_until)
        if poll.state == "ENDED" and poll.next_offset >= poll.size_bytes:
            return poll
        if poll.state != "ENDED" and clock.monotonic() >= deadline:
            raise StepOverdue(
                f"{this.shell.host}: step {this.step_id} has not ended within"
                f" {timeout_seconds:.0f} s; it still runs there, output in {this.place}"
            )


def _refuse_trouble(this: _Step, poll: _Poll, *, claimed: bool) -> None:
    where = f"{this.shell.host}: step {this.step_id}"
    if poll.state == "STOPPED":
        raise StepStopped(f"{where} was stopped by an operator; output in {this.place}")
    if poll.state in ("LOST", "NONE") or (poll.state == "CLAIMED" and claimed):
        raise StepLost(
            f"{where} was started, does not run and left no exit code (killed, or the host went"
            f" down): it is not run again. Look at {this.place} and at what it was to change,"
            " then decide: undo, or a new run"
        )


def _poll_through_trouble(this: _Step, deadline: float) -> _Poll:
    # A poll only reads, so a lost connection is made again here; the step goes on meanwhile.
    clock = world().clock
    until = min(deadline, clock.monotonic() + OUT_OF_CONTACT_SECONDS)
    delay_seconds = 0.5
    while True:
        try:
            return _poll(this)
        except LostContact as error:
            if clock.monotonic() >= until:
                raise
            log().warning("%s; attaching again to %s", error, this.step_id)
            clock.sleep(delay_seconds)
            delay_seconds = min(delay_seconds * 2, 10.0)


def _poll(this: _Step) -> _Poll:
    ran = this.ask(POLL, str(this.output.offset), str(CHUNK_BYTES), str(POLL_TRIES)).checked()
    head, _, text = ran.stdout.partition("\n")
    state, rc, size, following, sha256 = head.split()
    return _Poll(state, -1 if rc == "-" else int(rc), int(size), int(following), sha256, text)


def _judged(this: _Step, result: StepResult, accept: Collection[int]) -> StepResult:
    if result.exit_code in accept:
        return result
    raise StepFailed(
        f"{this.shell.host}: step {this.step_id} ended with exit code {result.exit_code}:"
        f" {result.stdout[-500:].strip() or 'no output'} (all of it in {result.place})"
    )


def _recorded(this: _Step) -> Entry | None:
    run = current_run()
    if run is None:
        return None
    return world().journal.find(run.run_id, Kind.REMOTE, _entry_name(this), Phase.OUTCOME)


def _entry_name(this: _Step) -> str:
    return f"{this.name}@{this.shell.host}"


def _note(this: _Step, phase: Phase, payload: dict[str, object]) -> None:
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


def _log_progress(this: _Step) -> Callable[[str], None]:
    def progress(text: str) -> None:
        for line in text.splitlines():
            log().info("%s %s: %s", this.shell.host, this.name, line)

    return progress
