"""The monitor proposes: its events become runs that wait for a person, made by automations.

One automation an anomaly runs the flow `propose`, which alone creates runs, one proposal after the
other: it looks whether such a run is unfinished, so that repeated events propose once.
"""

from collections.abc import Mapping
from typing import Any

from flows.api import Api
from flows.automations import Automation, ensure

EVENTS = "hosted-engine.anomaly."
PROPOSE = "propose"
WATCH = "watch"
# What is proposed for an anomaly. Without a runbook for it, the watch is run: it changes nothing
# and writes down what all hosts and the storage say.
RUNBOOKS: Mapping[str, str] = {
    "metadata-too-new": "metadata-too-new",
    "metadata-garbage": "metadata-too-new",
    "lockspace-unusable": "recover-lockspace",
    "forgotten-maintenance": "leave-global-maintenance",
    "no-eligible-host": WATCH,
    "duplicate-host-id": WATCH,
    "engine-unexpectedly-down": WATCH,
    "two-vms": WATCH,
}
# What a proposed run is given beside the cluster: the lease that was forgotten is another's.
PARAMETERS: Mapping[str, Mapping[str, Any]] = {"forgotten-maintenance": {"end_others": True}}
FIELDS = ("cluster", "host", "kind", "detail", "since")


def proposals(deployment_id: str) -> tuple[Automation, ...]:
    """Return one automation an anomaly that runs the deployment of `propose`."""
    return tuple(_automation(kind, runbook, deployment_id) for kind, runbook in RUNBOOKS.items())


def ensure_proposals(api: Api) -> None:
    """Create the automations that are missing, once `propose` is served.

    Raises ApiRefused, NoServer.
    """
    found = api.post(
        "/deployments/filter", {"deployments": {"name": {"any_": [PROPOSE]}}, "limit": 1}
    )
    if found:
        ensure(api, proposals(found[0]["id"]))


def _automation(kind: str, runbook: str, deployment_id: str) -> Automation:
    parameters: dict[str, Any] = {
        name: {"__prefect_kind": "jinja", "template": f"{{{{ event.payload.{name} }}}}"}
        for name in FIELDS
    }
    return {
        "name": f"monitor: {kind}",
        "description": f"The monitor's event {EVENTS}{kind} proposes the runbook {runbook}: a run "
        "of it is created, once, and waits at its gate `proposed`.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "match": {"prefect.resource.id": "hosted-engine.*"},
            "expect": [f"{EVENTS}{kind}"],
            "for_each": ["prefect.resource.id"],
            "threshold": 1,
            "within": 0,
        },
        "actions": [
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": deployment_id,
                "parameters": parameters,
            }
        ],
    }
