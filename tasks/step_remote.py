"""One remote step on its host: started or attached to, polled to its end, stopped."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tasks.env import LostContact, Ran, Shell, world
from tasks.runs import log
from tasks.step_scripts import POLL, START, STOP

RUNNING = "RUNNING"
CLAIMED = "CLAIMED"  # no process yet
CHUNK_BYTES = 65_536
KEPT_BYTES = 262_144  # of the output, from its end
POLL_TRIES = 12  # of 0.2 s each on the host
ANSWER_SECONDS = 30.0  # for one poll
START_WITHIN_SECONDS = 10  # from the claim to the command's start; later it does not start
CLAIMED_SECONDS = 15.0  # from the claim to the pid file
CANNOT_KEEP = (73, 74)  # START's exit codes
OUT_OF_CONTACT_SECONDS = 120.0  # tolerated while a step runs


class StepFailed(Exception):
    """A remote step ended with an exit code that is not accepted, or cannot be run. Not retried."""


class StepLost(StepFailed):
    """A remote step was claimed, does not run and left no exit code: a person has to look."""

    def __init__(self, message: str, step: "Step") -> None:
        """Tell which step it is."""
        self.step = step
        super().__init__(message)


class StepStopped(StepFailed):
    """A remote step was stopped by an operator."""


class StepOverdue(StepFailed):
    """A remote step has not ended within its time; it still runs on the host."""


@dataclass(slots=True)
class Output:
    """What was read so far."""

    offset: int = 0
    text: str = ""

    def add(self, poll: "Poll") -> None:
        """Take what a poll brought; of a flood only the end is read."""
        self.offset = max(poll.next_offset, poll.size_bytes - KEPT_BYTES)
        self.text = (self.text + poll.text)[-KEPT_BYTES:]


@dataclass(frozen=True, slots=True)
class Poll:
    """What a host said of a step."""

    state: str
    exit_code: int
    size_bytes: int
    next_offset: int
    sha256: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One remote step: where it is and what it runs."""

    shell: Shell
    name: str
    argv: tuple[str, ...]
    run_id: str
    store: Path
    number: int = 1  # one more for each time that it was lost and is to be run again
    output: Output = field(default_factory=Output)

    @property
    def step_id(self) -> str:
        """Return the id under which the host keeps the step."""
        again = f"+{self.number}" if self.number > 1 else ""
        return f"{self.run_id}.{self.name}{again}"

    @property
    def folder(self) -> str:
        """Return where the host keeps what it knows of the step."""
        return str(self.store / self.step_id)

    @property
    def place(self) -> str:
        """Return where the host keeps the output."""
        return f"{self.folder}/out"

    def ask(self, script: str, *args: str) -> Ran:
        """Run one of the step scripts on the host."""
        words = ["sh", "-c", script, "step", str(self.store), self.step_id, *args]
        return self.shell.run(words, timeout_seconds=ANSWER_SECONDS)


def start(this: Step) -> str:
    """Start the step or attach to it. Return started or attached. Raises: StepFailed."""
    digest = hashlib.sha256("\0".join(this.argv).encode()).hexdigest()
    ran = this.ask(START, digest, str(START_WITHIN_SECONDS), *this.argv)
    if ran.exit_code in CANNOT_KEEP:
        raise StepFailed(
            f"{this.shell.host}: step {this.step_id} was not started: {ran.stderr.strip()}. See"
            f" there, with `df {this.store}`, whether that disk is full or read-only; make room,"
            " then retry this run"
        )
    how = ran.checked().stdout.strip()
    if how == "other":
        raise StepFailed(
            f"{this.shell.host}: step {this.step_id} was started with another command (see"
            f" {this.place.removesuffix('out')}argv there); start a new run"
        )
    return how


def wait(this: Step, timeout_seconds: float, progress: Callable[[str], None]) -> Poll:
    """Poll the step until it ended and its output is read. Raises: StepFailed's kinds."""
    clock = world().clock
    deadline = clock.monotonic() + timeout_seconds
    claimed_until = clock.monotonic() + CLAIMED_SECONDS
    while True:
        poll = _poll_through_trouble(this, deadline)
        if poll.text:
            this.output.add(poll)
            progress(poll.text)
        _refuse_trouble(this, poll, claimed=clock.monotonic() >= claimed_until)
        if poll.state == "ENDED" and this.output.offset >= poll.size_bytes:
            return poll
        if poll.state != "ENDED" and clock.monotonic() >= deadline:
            raise StepOverdue(
                f"{this.shell.host}: step {this.step_id} has not ended within"
                f" {timeout_seconds:.0f} s; it still runs there, output in {this.place}"
            )


def state_now(this: Step) -> str:
    """Return what the host says of the step at this moment, such as RUNNING or NONE."""
    return this.ask(POLL, "0", "0", "1").checked().stdout.split()[0]


def _refuse_trouble(this: Step, poll: Poll, *, claimed: bool) -> None:
    where = f"{this.shell.host}: step {this.step_id}"
    if poll.state == "STOPPED":
        raise StepStopped(f"{where} was stopped by an operator; output in {this.place}")
    if poll.state in ("LOST", "NONE") or (poll.state == CLAIMED and claimed):
        raise StepLost(
            f"{where} was started, does not run and left no exit code (killed, or the host went"
            f" down): it is not run again. Look at {this.place} and at what it was to change,"
            " then decide: undo, or a new run",
            this,
        )


def _poll_through_trouble(this: Step, deadline: float) -> Poll:
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


def _poll(this: Step) -> Poll:
    ran = this.ask(POLL, str(this.output.offset), str(CHUNK_BYTES), str(POLL_TRIES)).checked()
    head, _, text = ran.stdout.partition("\n")
    state, rc, size, following, sha256 = head.split()
    return Poll(state, -1 if rc == "-" else int(rc), int(size), int(following), sha256, text)


def stop_step(this: Step, term_seconds: float) -> str:
    """Stop a step's whole process group: TERM, then KILL. Return stopped, ended, lost or none.

    What has not begun then never will: its id is taken.
    """
    return this.ask(STOP, str(max(1, int(term_seconds / 0.2)))).checked().stdout.strip()
