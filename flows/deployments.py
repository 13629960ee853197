"""The catalogue's entries as Prefect deployments: descriptions, choices, one run at a time."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import EntrypointType, RunnerDeployment

from flows.server import TAG
from runbooks.catalogue import Entry, Kind

CLUSTER = "cluster"  # the parameter that names one of the inventory's clusters

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


def deployment(entry: Entry, clusters: Sequence[str]) -> RunnerDeployment:
    """Return the deployment of one entry.

    A second run of it waits for its turn and is never cancelled for it: a suspended run gives up
    its place, and cancelling the newcomer would hit a half-done run on its way back in.
    """
    made: RunnerDeployment = load_flow(entry).to_deployment(
        name=entry.id,
        tags=[TAG, f"risk:{entry.risk}"],
        description=describe(entry),
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
        ),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    offer(made, entry, clusters)
    return made


def offer(made: RunnerDeployment, entry: Entry, clusters: Sequence[str]) -> None:
    """Give the parameter form the catalogue's descriptions and the inventory's clusters."""
    form = made._parameter_openapi_schema  # noqa: SLF001 - there is no public way to it
    for parameter in entry.parameters:
        if parameter.name in form.properties:
            form.properties[parameter.name].setdefault("description", parameter.says)
    if CLUSTER in form.properties and clusters:
        form.properties[CLUSTER]["enum"] = list(clusters)


def describe(entry: Entry) -> str:
    """Return what an operator reads before he runs it, in Markdown."""
    way_back = "\n".join(f"- {line}" for line in entry.on_failure.way_back)
    return "\n\n".join(
        (
            f"## {entry.title}",
            f"Risk **{entry.risk}** · source: {entry.source}",
            f"**When.** {entry.when}",
            f"**Effect.** {entry.effect}",
            "### Procedure",
            "\n".join(procedure(entry)),
            "### If it fails or is rejected",
            f"It leaves {entry.on_failure.leaves}",
            way_back,
            *differences(entry),
        )
    )


def procedure(entry: Entry) -> list[str]:
    words: Mapping[Kind, str] = {Kind.CHECK: "Check", Kind.GATE: "**Gate**", Kind.STEP: "Step"}
    return [
        f"{number}. {words[part.kind]} `{part.name}`: {part.says}"
        for number, part in enumerate(entry.procedure, start=1)
    ]


def differences(entry: Entry) -> list[str]:
    if not entry.differs_from_howto:
        return []
    rows = [
        f"| {cell(each.howto)} | {cell(each.here)} | {cell(each.why)} |"
        for each in entry.differs_from_howto
    ]
    return [
        "### What differs from the Howto",
        "\n".join(("| the Howto says | here | why |", "|---|---|---|", *rows)),
    ]


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
