"""The catalogue's entries as Prefect deployments: descriptions, choices, one run at a time."""

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Schedule
from prefect.types.entrypoint import EntrypointType

from flows.server import TAG
from runbooks.catalogue import Entry
from runbooks.pages import page

CLUSTER = "cluster"  # the parameter that names one of the inventory's clusters
HOSTS = ("host", "canary", "to_host")  # those that name one of its hosts

AnyFlow = Flow[..., Any]


class NotAFlow(Exception):
    """An entry of the catalogue names something that is no flow."""


def load_flow(entry: Entry) -> AnyFlow:
    """Import the flow that an entry names.  Raises NotAFlow."""
    module, _, function = entry.flow.partition(":")
    found = getattr(importlib.import_module(module), function, None)
    if not isinstance(found, Flow):
        raise NotAFlow(f"runbook {entry.id}: {entry.flow} is not a flow")
    return found


def deployment(
    entry: Entry, clusters: Mapping[str, Sequence[str]], schedules: Sequence[Schedule] = ()
) -> RunnerDeployment:
    """Return the deployment of one entry; `clusters` has the hosts' names by cluster.

    These schedules replace all that the server has of it, also when there are none.

    A second run of it waits for its turn and is never cancelled for it: a suspended run gives up
    its place, and cancelling the newcomer would hit a half-done run on its way back in.
    """
    made = load_flow(entry).to_deployment(
        name=entry.id,
        tags=[TAG, f"risk:{entry.risk}"],
        description=text(entry),
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
        ),
        entrypoint_type=EntrypointType.MODULE_PATH,
        schedules=list(schedules),
    )
    if not isinstance(made, RunnerDeployment):  # a coroutine, if an event loop runs already
        raise NotAFlow(f"runbook {entry.id}: deployments are made outside of an event loop")
    offer(made, entry, clusters)
    return made


def offer(made: RunnerDeployment, entry: Entry, clusters: Mapping[str, Sequence[str]]) -> None:
    """Give the parameter form the catalogue's descriptions and the inventory's names to choose.

    A form cannot tell one cluster's hosts from another's: that they belong together is checked
    by the run. The server refuses what is not among the choices before a run is made.
    """
    form = made._parameter_openapi_schema  # noqa: SLF001 - there is no public way to it
    for parameter in entry.parameters:
        if parameter.name in form.properties:
            form.properties[parameter.name].setdefault("description", parameter.says)
    hosts = sorted({host for names in clusters.values() for host in names})
    for name, choices in ((CLUSTER, sorted(clusters)), *((each, hosts) for each in HOSTS)):
        for text_form in _text_forms(form.properties.get(name, {})) if choices else ():
            text_form["enum"] = choices


def _text_forms(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield where a parameter's schema says `string`: itself, or what an optional one holds."""
    for each in (schema, *schema.get("anyOf", ())):
        if each.get("type") == "string":
            yield each


def text(entry: Entry) -> str:
    """Return the entry's page for the UI: without its mark of origin and links between files."""
    lines = [line for line in page(entry).splitlines() if not line.startswith("<!--")]
    return re.sub(r"\]\([\w-]+\.md\)", "]", "\n".join(lines).strip())
