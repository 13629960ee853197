"""propose: turn one event of the monitor into a run that waits for a person; or into nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import (
    ConcurrencyLimitConfig,
    ConcurrencyLimitStrategy,
    FlowRun,
    StateType,
)
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from flows.proposals import EVENTS, PARAMETERS, PROPOSE, RUNBOOKS
from flows.server import TAG
from tasks.env import world
from tasks.proposed import LONGEST, PROPOSED, Seen, labels_of
from tasks.runs import STARTED_BY, log

# Crashed is unfinished: such a run is continued.
UNFINISHED = (
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
    StateType.CANCELLING,
    StateType.CRASHED,
)
NEWEST = 200


class NotProposed(Exception):
    """An event asks for something that this control node does not know; raised by propose."""


@flow(name=PROPOSE, flow_run_name="propose {kind} {cluster}")
def propose(cluster: str, kind: str, host: str = "", detail: str = "", since: str = "") -> str:
    """Create a run of the runbook for an anomaly, unless one is unfinished; say what was done.

    Args:
        cluster: the cluster, as the inventory names it
        kind: the anomaly
        host: the host that saw it
        detail: what was seen
        since: since when
    """
    runbook = RUNBOOKS.get(kind)
    if runbook is None or cluster not in world().inventory.clusters:
        raise NotProposed(f"no runbook for the anomaly {kind!r} of a cluster {cluster!r}")
    seen = Seen(f"{EVENTS}{kind}", host[:LONGEST], detail[:LONGEST], since[:LONGEST])
    with get_client(sync_client=True) as client:
        said = _proposed(client, runbook, cluster, seen)
    log().info("%s", said)
    return said


def proposing() -> RunnerDeployment:
    """Return the deployment of `propose`: one at a time, so that two events cannot race."""
    made = propose.to_deployment(
        name=PROPOSE,
        tags=[TAG],
        description="Run by automations when the monitor reports an anomaly.",
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
        ),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    if not isinstance(made, RunnerDeployment):  # a coroutine, if an event loop runs already
        raise TypeError("deployments are made outside of an event loop")
    return made


def _proposed(client: SyncPrefectClient, runbook: str, cluster: str, seen: Seen) -> str:
    deployment_id = _deployment_id(client, runbook)
    there = next(_unfinished(client, deployment_id, cluster), None)
    if there is not None:
        return f"{seen.event}: {runbook} is under way or proposed already: run {there.id}"
    run = client.create_flow_run_from_deployment(
        deployment_id,
        parameters={"cluster": cluster, **PARAMETERS.get(seen.event.removeprefix(EVENTS), {})},
        tags=[PROPOSED, f"{STARTED_BY}monitor ({seen.host or 'watch'}: {seen.event})"],
        labels={**labels_of(seen)},
    )
    return f"{seen.event}: proposed {runbook} for {cluster}: run {run.id}"


def _deployment_id(client: SyncPrefectClient, runbook: str) -> UUID:
    named = DeploymentFilter(name=DeploymentFilterName(any_=[runbook]))
    found = client.read_deployments(deployment_filter=named, limit=1)
    if not found:
        raise NotProposed(f"runbook {runbook} is not served")
    return found[0].id


def _unfinished(client: SyncPrefectClient, deployment_id: UUID, cluster: str) -> Iterator[FlowRun]:
    """Yield a runbook's runs that have not ended, whoever started them; not the schedule's."""
    now = datetime.now(UTC)
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNFINISHED)))
    of_it = FlowRunFilterDeploymentId(any_=[deployment_id])
    wanted = FlowRunFilter(deployment_id=of_it, state=states)
    found: list[Any] = client.read_flow_runs(flow_run_filter=wanted, limit=NEWEST)
    for run in found:
        later = (
            run.state_type is StateType.SCHEDULED and (run.next_scheduled_start_time or now) > now
        )
        if run.parameters.get("cluster") == cluster and not (later and run.auto_scheduled):
            yield run
