"""The run in force: its id and attempt, opened at the top of a flow and ended with it.

    @flow(name="metadata-too-new")
    @recorded_run("metadata-too-new")
    def zero_metadata(cluster: str, ...) -> None: ...

`recorded_run` opens the run in the journal, fences earlier attempts, takes the cluster's lock
(unless `mutates=False`), and writes at the end what became of the run. A run that fails keeps
the lock, but as it has ended the next run may take it over.
"""

import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from prefect.context import FlowRunContext
from prefect.exceptions import Abort, MissingContextError, TerminationSignal
from prefect.logging import get_run_logger
from pydantic_core import to_jsonable_python

from tasks.audit_heads import tell_heads
from tasks.env import world
from tasks.journal import NO_ATTEMPT, Draft, JournalError, Kind, Phase, Run, Superseded
from tasks.lock import acquire, release
from tasks.plan import RUN, planning
from tasks.prefect_runs import is_over

P = ParamSpec("P")
T = TypeVar("T")

TOLD_TO_GO = (KeyboardInterrupt, SystemExit, TerminationSignal)
STARTED_BY = "started-by:"  # a Prefect tag that names who asked for the run


class StepNameReused(JournalError):
    """A step name was used twice in one run, or for something else than in an earlier attempt."""


@dataclass(slots=True)
class CurrentRun:
    """The run in force in this process."""

    run_id: str
    attempt: int
    cluster: str
    runbook: str
    actor: str = ""  # who started it
    used: dict[str, object] = field(default_factory=dict)

    def use(self, step: str, call: object) -> None:
        """Claim a step name for one call (and its retries). Raises: StepNameReused."""
        if self.used.setdefault(step, call) is not call:
            raise StepNameReused(
                f"run {self.run_id}: the step name `{step}` is used twice; give the second call"
                ' a name of its own: task.named("...")(...)'
            )

    def draft(self, kind: Kind, step: str, phase: Phase, **more: Any) -> Draft:
        """Return a draft of an entry of this run and attempt."""
        return Draft(self.run_id, kind, step, phase, attempt=self.attempt, **more)


_current: ContextVar[CurrentRun | None] = ContextVar("current_run", default=None)


def current_run() -> CurrentRun | None:
    """Return the run in force, or None outside of a run (a task's `.fn` in a plain test)."""
    return _current.get()


def log() -> "logging.Logger | logging.LoggerAdapter[logging.Logger]":
    """Return the run's logger (shown in Prefect), or a plain one outside of Prefect."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("runbooks")


def recorded_run(
    runbook: str, *, mutates: bool = True, takes_lock: bool = True
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a flow's function a recorded run of a runbook; it needs a parameter `cluster`.

    With `takes_lock=False` a run that mutates does not begin by taking the cluster's lock.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @wraps(function)
        def recorded(*args: P.args, **kwargs: P.kwargs) -> T:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            if planning() is not None:
                return function(*args, **kwargs)
            given = bound.arguments
            with entered_run(
                runbook,
                parameters=given,
                mutates=mutates,
                takes_lock=takes_lock,
                procedure=function,
            ):
                return function(*args, **kwargs)

        return recorded

    return decorate


@contextmanager
def planned_run(runbook: str, cluster: str, actor: str) -> Iterator[CurrentRun]:
    """Put a run in force that is only planned: the journal does not know it."""
    run = CurrentRun(RUN, NO_ATTEMPT, cluster, runbook, actor)
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)


@contextmanager
def entered_run(
    runbook: str,
    *,
    parameters: Mapping[str, Any],
    mutates: bool = True,
    takes_lock: bool = True,
    run_id: str | None = None,
    procedure: Callable[..., object] | None = None,
) -> Iterator[CurrentRun]:
    """Open a run (or its next attempt) for the block; `parameters` must name the cluster.

    With its `procedure`, a run that the monitor proposed asks a person before anything else.

    Raises: ClusterLocked; prefect's Abort if this process has been superseded, so that it
    leaves without telling Prefect a state that is no longer its own to tell.
    """
    journal = world().journal
    opened = journal.open_run(_described(runbook, parameters, run_id))
    run = CurrentRun(opened.run_id, opened.attempt, opened.cluster, opened.runbook, opened.actor)
    token = _current.set(run)
    try:
        if procedure is not None:
            _ask_if_proposed(run, procedure, parameters)
        if mutates and takes_lock:
            acquire(journal, run.run_id, attempt=run.attempt, actor=opened.actor, is_over=is_over)
        yield run
        _complete(run, mutates)
    except Superseded as gone:
        if FlowRunContext.get() is None:
            raise
        raise Abort(str(gone)) from gone
    except Exception as error:
        _fail(run, error, mutates)
        raise
    finally:
        _current.reset(token)
        # Suspended is an end, too; but a process that is told to go must go at once.
        if mutates and not isinstance(sys.exception(), TOLD_TO_GO):
            tell_heads(run.cluster, log().warning)


def _ask_if_proposed(
    run: CurrentRun, procedure: Callable[..., object], parameters: Mapping[str, Any]
) -> None:
    from tasks.proposed import ask_if_proposed  # noqa: PLC0415  (gates and plans need this module)

    ask_if_proposed(run, procedure, parameters)


def _complete(run: CurrentRun, mutates: bool) -> None:
    from tasks.step_store import forget_old_steps  # noqa: PLC0415  (it needs this module)

    if mutates:
        forget_old_steps(run)
        release(world().journal, run.run_id, attempt=run.attempt)
    _end(run, {"as": "completed"})


def _fail(run: CurrentRun, error: Exception, mutates: bool) -> None:
    from tasks.lease import end_of_run  # noqa: PLC0415  (it works with steps, which need this)

    if mutates:
        end_of_run(run)
    why = f"{type(error).__name__}: {error}"[:2000]
    _end(run, {"as": getattr(error, "ended_as", "failed"), "why": why})


def _end(run: CurrentRun, payload: Mapping[str, str]) -> None:
    world().journal.append(run.draft(Kind.RUN, run.runbook, Phase.ENDED, payload=payload))


def _described(runbook: str, parameters: Mapping[str, Any], run_id: str | None) -> Run:
    context = FlowRunContext.get()
    prefect_run = None if context is None else context.flow_run
    actor, via = "", "python"
    if prefect_run is not None:
        run_id, via = run_id or str(prefect_run.id), "prefect"
        tags = [tag for tag in prefect_run.tags if tag.startswith(STARTED_BY)]
        creator = prefect_run.created_by
        actor = tags[0].removeprefix(STARTED_BY) if tags else ""
        actor = actor or (creator.display_value or "" if creator else "")
    return Run(
        run_id=run_id or str(uuid4()),
        runbook=runbook,
        cluster=str(parameters["cluster"]),
        parameters=to_jsonable_python(dict(parameters), fallback=str),
        actor=actor,
        via=via,
        started_at=world().clock.now(),
        attempt=0,
    )
