"""The Prefect side of a gate: asking by suspend or pause, stored answers, resuming a run.

Prefect keeps the answers in its flow_run_input rows, which outlive the pause keys that any
retry wipes; so an answer given to a run that died before reading it is found again. Each ask
has a number in its key: the rows of one key can be written only once.
"""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pydantic
from prefect import pause_flow_run, suspend_flow_run
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import OrchestrationResult, SetStateStatus
from prefect.context import FlowRunContext
from prefect.exceptions import FlowPauseTimeout, ObjectNotFound, PrefectHTTPStatusError
from prefect.input import RunInput
from prefect.input.run_input import keyset_from_paused_state
from prefect.runtime import deployment
from prefect.states import Scheduled, Suspended

PAUSE_POLL_SECONDS = 2
# Prefect fails a run whose pause timed out and runs no code of ours: it is to be the later one.
GRACE_SECONDS = 3600
RESUME_WITHIN_SECONDS = 30.0
CONFLICT = 409
BUSY = 503  # SQLite is locked; the request is to be sent again


class NotAnswered(Exception):
    """A run went on without an answer to its gate: forced state, or an empty form."""


class NotInTime(Exception):
    """Nobody answered a paused run before its gate expired."""


class ResumeRefused(Exception):
    """Prefect did not resume a run; the message has its reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A filled-in form and when it was given."""

    fields: Mapping[str, Any]
    at: datetime


def ask(form: type[RunInput], key: str, remaining_seconds: float) -> Answer:
    """Suspend the run for an answer, or pause it when there is no deployment to run it again.

    Raises: NotAnswered, NotInTime; Prefect's Pause (the run is suspended and this process leaves).
    """
    key = _key_of(key)
    if deployment.id:
        form = _saved_first(form, key)
    try:
        if deployment.id:
            given = suspend_flow_run(form, timeout=int(remaining_seconds) + GRACE_SECONDS, key=key)
        else:
            timeout = max(1, math.ceil(remaining_seconds))
            poll = min(PAUSE_POLL_SECONDS, timeout)
            given = pause_flow_run(form, timeout=timeout, poll_interval=poll, key=key)
    except pydantic.ValidationError as error:
        raise NotAnswered("the run was made to go on without an answer") from error
    except FlowPauseTimeout as error:
        raise NotInTime("nobody answered in time") from error
    return Answer(given.model_dump(mode="json"), datetime.now(UTC))


def _key_of(name: str) -> str:
    """Return a name as Prefect's keys allow it: lowercase letters, numbers and dashes only."""
    return name.lower().replace("_", "-")


def _saved_first(form: type[RunInput], key: str) -> type[RunInput]:
    """Store the form before the run suspends itself, and return a form that is stored no more.

    Prefect suspends first and stores the form afterwards; the run may be gone by then, and the
    UI would resume it without a form.
    """
    keyset = keyset_from_paused_state(Suspended(pause_key=key))
    try:
        form.save(keyset)
    except PrefectHTTPStatusError as error:
        if error.response.status_code != CONFLICT:  # stored by an attempt that died before it hung
            raise

    def save_nothing(_cls: type[RunInput], /, *_args: object, **_kwargs: object) -> None:
        return None

    return type(form.__name__, (form,), {"save": classmethod(save_nothing)})


def stored_answer(run_id: str, gate: str, number: int) -> Answer | None:
    """Return the answer that Prefect keeps for an ask of a gate, read by the run or not."""
    try:
        flow_run_id = UUID(run_id)
    except ValueError:
        return None  # not a run of Prefect's
    with get_client(sync_client=True) as client:
        for state in ("suspended", "paused"):
            key = f"{state}-{_key_of(gate)}-{number}-response"
            rows = client.filter_flow_run_input(flow_run_id, key, limit=10, exclude_keys=set())
            for row in rows:
                if row.key == key:
                    return Answer(json.loads(row.value), row.created or datetime.now(UTC))
    return None


def started_by_schedule() -> bool:
    """Tell whether the flow run in force was made by its deployment's schedule."""
    context = FlowRunContext.get()
    flow_run = None if context is None else context.flow_run
    # No request to the API sets this: the server's scheduler does.
    return flow_run is not None and bool(flow_run.auto_scheduled)


def resume(run_id: str, answer: Mapping[str, Any]) -> None:
    """Resume a run that waits at a gate, with the form's fields; tried for up to 30 s.

    A run that does not wait any more is left alone. Raises: ResumeRefused.
    """
    deadline = time.monotonic() + RESUME_WITHIN_SECONDS
    while True:
        refused = _resumed(UUID(run_id), answer)
        if refused is None:
            return
        if time.monotonic() >= deadline:
            raise ResumeRefused(f"Prefect does not resume run {run_id}: {refused}")
        time.sleep(0.5)


def nudge(run_id: str) -> bool:
    """Make a suspended run start again, to look at its gate anew; tell whether it was."""
    try:
        flow_run_id = UUID(run_id)
    except ValueError:
        return False  # not a run of Prefect's
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(flow_run_id).state
        except ObjectNotFound:
            return False
        if state is None or not state.is_paused() or not state.state_details.pause_reschedule:
            return False
        woken: OrchestrationResult[Any] = client.set_flow_run_state(
            flow_run_id, Scheduled(name="Resuming")
        )
        return woken.status is SetStateStatus.ACCEPT


def _resumed(flow_run_id: UUID, answer: Mapping[str, Any]) -> str | None:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(flow_run_id).state
        if state is None or state.is_final():
            return None
        if not state.is_paused():
            # It may be about to suspend itself; then it has not seen the decision.
            return f"it is {state.name}, not waiting"
        return _resume_now(client, flow_run_id, answer)


def _resume_now(
    client: SyncPrefectClient, flow_run_id: UUID, answer: Mapping[str, Any]
) -> str | None:
    try:
        result = client.resume_flow_run(flow_run_id, run_input=dict(answer))
    except PrefectHTTPStatusError as error:
        if error.response.status_code == BUSY:
            return "its database is busy"
        raise
    # HTTP 200 does not mean that it was accepted.
    if result.status is SetStateStatus.ACCEPT:
        return None
    return str(getattr(result.details, "reason", result.status.value))
