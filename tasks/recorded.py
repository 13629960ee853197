"""Decorators that make a function a recorded step of a run: @look, @check, @change, @wait.

    @change
    def set_global_maintenance(cluster: str, host: str) -> Outcome: ...

The step's name is the function's, with `@<host>` if it has an argument `host`; a second call
in one run needs a name of its own: `set_global_maintenance.named("again")(cluster, host)`.
In a flow the call is a Prefect task run (no cache; retried only for LostContact). If the
journal has the step's outcome, that is returned, nothing is done, and the task run ends in the
state `Recorded`. `f.fn(...)` is the same without Prefect; outside of a run it just calls.

The return annotation must be something pydantic can turn to JSON and back (no raw bytes).
"""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from enum import Enum
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, get_type_hints, overload

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.states import Completed
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from tasks.env import LostContact, world
from tasks.journal import Entry, Kind, Phase, Superseded
from tasks.journal_chain import canonical
from tasks.lock import held_by
from tasks.plan import Asked, planning
from tasks.runs import CurrentRun, StepNameReused, current_run, log
from tasks.step_lost import through_losses
from tasks.timeline import came_to

P = ParamSpec("P")
T = TypeVar("T")

STEP_KINDS = (Kind.LOOK, Kind.CHECK, Kind.CHANGE, Kind.WAIT)
RETRY_DELAYS_SECONDS = (1, 3, 9, 20, 20, 20, 20, 20, 20, 20)


class Outcome(Enum):
    """What a change did."""

    CHANGED = "changed"
    ALREADY = "already"


class Recorded(Generic[P, T]):
    """A function whose calls within a run are recorded and never repeated."""

    def __init__(
        self, function: Callable[P, T], kind: Kind, foretold: Callable[..., Any] | None = None
    ) -> None:
        """Wrap a function as a step of a kind."""
        update_wrapper(self, function)
        self.function = function
        self.kind = kind
        self.foretold = foretold
        self.name: str = function.__name__
        self._signature = inspect.signature(function)
        self._adapter: TypeAdapter[T] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the step once in the run, or answer from the journal. Raises: StepNameReused."""
        return self._called(self._step_of(args, kwargs), args, kwargs)

    def fn(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same without Prefect."""
        step = self._step_of(args, kwargs)
        return self._perform(step, object(), args, kwargs)[0]

    def named(self, step: str) -> Callable[P, T]:
        """Return this function under a step name of its own."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return self._called(step, args, kwargs)

        return call

    def _step_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        host = self._signature.bind(*args, **kwargs).arguments.get("host")
        return f"{self.name}@{host}" if host else self.name

    def _called(self, step: str, args: Any, kwargs: Any) -> T:
        call = object()
        if FlowRunContext.get() is None:
            return through_losses(lambda: self._perform(step, call, args, kwargs)[0])
        done: list[T] = []

        def perform() -> State[None] | None:
            value, entry = self._perform(step, call, args, kwargs)
            done.append(value)
            if entry is None:
                return None
            message = f"Answered from the journal: entry {entry.seq}, {entry.at:%F %T} UTC"
            return Completed(name="Recorded", message=message)

        retries = world().lost_contact_retries
        task = Task(
            perform,
            name=self.name,
            description=inspect.getdoc(self.function),
            task_run_name=step,
            # No tags: the server would be asked for a concurrency slot of each, at every step.
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=retries,
            retry_delay_seconds=list(RETRY_DELAYS_SECONDS[:retries]),
            retry_condition_fn=_lost_contact,
        )
        through_losses(task)
        return done[-1]

    def _perform(self, step: str, call: object, args: Any, kwargs: Any) -> tuple[T, Entry | None]:
        run = current_run()
        if run is None:
            return self.function(*args, **kwargs), None
        run.use(step, call)
        bound = self._signature.bind(*args, **kwargs)
        plan = planning()
        if plan is not None:
            return plan.step(self._asked(step, bound)), None
        inputs = _inputs(bound.arguments)
        entry = self._recorded(run, step, inputs)
        if entry is not None:
            return self.adapter.validate_python(entry.payload["value"]), entry
        host = str(bound.arguments.get("host", ""))
        journal = world().journal
        guard = held_by(run.run_id) if self.kind is Kind.CHANGE else None
        intent = {"task": self.name, "inputs": inputs}
        journal.append(run.draft(self.kind, step, Phase.INTENT, host=host, payload=intent), guard)
        try:
            value = self.function(*args, **kwargs)
        except Superseded:
            raise
        except Exception as error:
            why = {"task": self.name, "error": type(error).__name__, "why": str(error)[:4000]}
            journal.append(run.draft(self.kind, step, Phase.FAILURE, host=host, payload=why))
            raise
        stored = self.adapter.dump_python(value, mode="json")
        outcome = {"task": self.name, "inputs_sha256": _digest(inputs), "value": stored}
        entry = journal.append(
            run.draft(self.kind, step, Phase.OUTCOME, host=host, payload=outcome)
        )
        log().info("%s %s: %s", self.kind.value, step, came_to(entry))
        # What a later attempt will read back, so that both go on with the same value.
        return self.adapter.validate_python(stored), None

    def _asked(self, step: str, bound: inspect.BoundArguments) -> Asked:
        """Return the step as a plan asks it."""
        foretold = self.foretold
        return Asked(
            kind=self.kind,
            step=step,
            task=self.name,
            host=str(bound.arguments.get("host", "")),
            call=lambda: self.function(*bound.args, **bound.kwargs),
            foretold=foretold and (lambda: foretold(*bound.args, **bound.kwargs)),
            default=Outcome.CHANGED,
        )

    @property
    def adapter(self) -> TypeAdapter[T]:
        """Return the codec of the return annotation."""
        if self._adapter is None:
            self._adapter = TypeAdapter(get_type_hints(self.function)["return"])
        return self._adapter

    def _recorded(self, run: CurrentRun, step: str, inputs: Mapping[str, Any]) -> Entry | None:
        journal = world().journal
        for kind in STEP_KINDS:
            entry = journal.find(run.run_id, kind, step, Phase.OUTCOME)
            if entry is None:
                continue
            was = entry.payload
            if kind is not self.kind or was["task"] != self.name:
                raise StepNameReused(
                    f"run {run.run_id}: `{step}` is recorded as {kind.value} {was['task']}, and"
                    f" is now asked as {self.kind.value} {self.name}"
                )
            if was["inputs_sha256"] != _digest(inputs):
                raise StepNameReused(
                    f"run {run.run_id}: `{step}` is recorded with other arguments than it is"
                    " asked with now; start a new run"
                )
            return entry
        return None


class Decorator:
    """Makes a function a recorded step of a kind: `@change`, or `@change(foretold=f)`.

    `f` is called with the step's arguments when a plan is made, and returns what the plan goes on
    with where the step itself is not run.
    """

    def __init__(self, kind: Kind) -> None:
        """Make the decorator of a kind."""
        self.kind = kind

    @overload
    def __call__(self, function: Callable[P, T]) -> Recorded[P, T]: ...

    @overload
    def __call__(
        self, *, foretold: Callable[..., Any]
    ) -> Callable[[Callable[P, T]], Recorded[P, T]]: ...

    def __call__(
        self,
        function: Callable[P, T] | None = None,
        *,
        foretold: Callable[..., Any] | None = None,
    ) -> Recorded[P, T] | Callable[[Callable[P, T]], Recorded[P, T]]:
        """Wrap the function."""
        if function is not None:
            return Recorded(function, self.kind, foretold)
        return lambda function: Recorded(function, self.kind, foretold)


look = Decorator(Kind.LOOK)  # it reads and changes nothing (`read_...`)
check = Decorator(Kind.CHECK)  # it refuses by raising and changes nothing (`require_...`)
change = Decorator(Kind.CHANGE)  # a change; the run must hold the cluster's lock
wait = Decorator(Kind.WAIT)  # a bounded wait (`wait_until_...`)


def _inputs(arguments: Mapping[str, Any]) -> dict[str, Any]:
    jsonable: dict[str, Any] = to_jsonable_python(
        dict(arguments), fallback=lambda value: type(value).__name__
    )
    return jsonable


def _digest(inputs: Mapping[str, Any]) -> str:
    # A limit may be raised between two attempts; what is done stays the same.
    counted = {key: value for key, value in inputs.items() if not key.endswith("_seconds")}
    return hashlib.sha256(canonical(counted).encode()).hexdigest()


def _lost_contact(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), LostContact)
