"""Plan mode: a runbook's flow is walked through, and what it would do is noted, not done.

Looks are made; checks are made until the first change, as later ones ask for what is not there
yet; waits are only listed. A change goes as far as its first remote command, which is noted
instead of sent. What a step that was not run would have returned comes from its `foretold`.
What cannot be known before the run is a word in capitals, such as RUN for the run's id.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from tasks.decisions import APPROVE, Decision
from tasks.env import world
from tasks.journal_records import Kind
from tasks.redaction import redacted

RUN = "RUN"  # stands for the run's id
CONTROL_NODE = "control node"  # in the place of a host
EXCERPT_CHARACTERS = 2000


class State(StrEnum):
    """What a plan says of one part."""

    LOOKED = "looked at"
    HOLDS = "holds"
    REFUSED = "refused"
    TO_DO = "to be done"
    UNLESS = "to be done, unless it is so by then"
    ALREADY = "is so already"
    THEN = "then"
    ASKED = "is asked then"
    NOT_REACHED = "not reached"


class PlanImpossible(Exception):
    """A flow cannot be foretold: a step lacks its `foretold`, or looks for what comes later."""


class LeaveStep(BaseException):
    """A remote command was noted; its step is left, past any handler."""


class LeavePlan(BaseException):
    """A look, a check or the beginning of a change refused; the plan ends there."""


@dataclass(frozen=True, slots=True)
class Command:
    """One remote command: the step on its host, and its exact argv."""

    host: str
    step: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanPart:
    """One step or gate of a plan."""

    kind: str
    step: str
    task: str
    host: str
    says: str
    state: State
    commands: tuple[Command, ...] = ()
    detail: str = ""  # why it refuses, or a gate's evidence


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do now."""

    runbook: str
    cluster: str
    parameters: Mapping[str, Any]
    parts: tuple[PlanPart, ...]
    findings: tuple[str, ...]  # of the preflight; empty when nothing speaks against the run

    @property
    def commands(self) -> tuple[Command, ...]:
        """Return all commands, in order."""
        return tuple(command for part in self.parts for command in part.commands)


@dataclass(frozen=True, slots=True)
class Asked:
    """A recorded step that a plan comes to."""

    kind: Kind
    step: str
    task: str
    host: str
    call: Callable[[], Any]
    foretold: Callable[[], Any] | None
    default: Any


@dataclass(slots=True)
class Planning:
    """The plan in the making."""

    says: Mapping[str, str]
    parts: list[PlanPart] = field(default_factory=list)
    reached_change: bool = False
    would_change: bool = False
    noted: list[Command] = field(default_factory=list)

    def step(self, asked: Asked) -> Any:
        """Look, check, list or note one step, and return the value that the plan goes on with.

        Raises: LeavePlan, PlanImpossible.
        """
        later = self.would_change and asked.foretold is not None
        match asked.kind:
            case Kind.CHANGE:
                self.reached_change = True
                return self._run(asked, State.ALREADY)
            case Kind.LOOK if not later:
                return self._run(asked, State.LOOKED)
            case Kind.CHECK if not self.reached_change:
                return self._run(asked, State.HOLDS)
        self._add(asked, State.THEN)
        return _foretold(asked, None)

    def command(self, host: str, step: str, argv: Sequence[str]) -> None:
        """Note a remote command, and leave the step that would have sent it."""
        self.noted.append(Command(host, step, tuple(redacted(list(argv)))))
        raise LeaveStep

    def gate(self, name: str, *, evidence: str, risk: str, form: type[BaseModel]) -> Decision:
        """List a gate and approve it with its form's defaults, so that the plan goes on."""
        says = self.says.get(name, "")
        self.parts.append(
            PlanPart("gate", name, name, "", says, State.ASKED, detail=f"{risk}\n\n{evidence}")
        )
        return Decision(name, APPROVE, "", "", "plan", world().clock.now(), _defaults(form))

    def _run(self, asked: Asked, state: State) -> Any:
        self.noted = []
        try:
            value = asked.call()
        except LeaveStep:
            self._add(asked, State.UNLESS if self.would_change else State.TO_DO)
            self.would_change = True
            return _foretold(asked, asked.default)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            if self.would_change:
                raise PlanImpossible(
                    f"`{asked.step}` cannot be foretold, as earlier steps are not done: {why}"
                ) from error
            self._add(asked, State.REFUSED, why[:EXCERPT_CHARACTERS])
            raise LeavePlan from error
        self._add(asked, state)
        return value

    def _add(self, asked: Asked, state: State, detail: str = "") -> None:
        says = self.says.get(asked.task, "")
        part = PlanPart(
            kind=asked.kind.value,
            step=asked.step,
            task=asked.task,
            host=asked.host,
            says=says,
            state=state,
            commands=tuple(self.noted),
            detail=detail,
        )
        self.noted = []
        self.parts.append(part)


_current: ContextVar[Planning | None] = ContextVar("planning", default=None)


def planning() -> Planning | None:
    """Return the plan in the making, or None: then all is done for real."""
    return _current.get()


def acts_here(what: str) -> None:
    """Say what is about to be changed on the control node itself; a plan notes it and leaves.

    To be called in a change that sends nothing to a host, before it acts.
    """
    plan = planning()
    if plan is not None:
        plan.command(CONTROL_NODE, "here", (what,))


@contextmanager
def plan_mode(says: Mapping[str, str]) -> Iterator[Planning]:
    """Put plan mode in force for the block; `says` has the entry's words by task name."""
    plan = Planning(says)
    token = _current.set(plan)
    try:
        yield plan
    finally:
        _current.reset(token)


def _foretold(asked: Asked, default: Any) -> Any:
    return default if asked.foretold is None else asked.foretold()


def _defaults(form: type[BaseModel]) -> dict[str, Any]:
    """Return a form's further fields: the default, else the first choice, else its name."""
    schema = form.model_json_schema()
    definitions = schema.get("$defs", {})
    values: dict[str, Any] = {}
    for name, field_info in form.model_fields.items():
        if name in ("decision", "approver", "reason"):
            continue
        if not field_info.is_required():
            values[name] = to_jsonable_python(field_info.get_default(call_default_factory=True))
            continue
        wanted = schema["properties"][name]
        wanted = definitions.get(str(wanted.get("$ref", "")).rpartition("/")[2], wanted)
        values[name] = wanted.get("enum", [name.upper()])[0]
    return values
