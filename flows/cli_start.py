"""Starting a run: its parameters read from the command line and held against the form."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from flows.api import Api, ApiRefused
from flows.cli_output import UsageRefused
from flows.server import TAG, ServerRecord
from tasks.inventory import load_inventory

Schema = Mapping[str, Any]


def require_served_inventory(record: ServerRecord, named: Path | None) -> None:
    """Refuse to start a run that would read another inventory than the caller named, or a bad one.

    Raises UsageRefused, InventoryError.
    """
    if not record.inventory:
        return
    served = Path(record.inventory)
    if named is not None and named.absolute() != served:
        raise UsageRefused(
            f"RUNBOOKS_INVENTORY is {named}, but the server's runs read {served}; unset it, or "
            "serve again with it: `runbook serve --stop`, then `runbook serve`"
        )
    load_inventory(served)


def find_deployment(api: Api, runbook: str) -> dict[str, Any]:
    """Return the deployment of a runbook.  Raises UsageRefused if it is not served."""
    found: list[dict[str, Any]] = api.post(
        "/deployments/filter",
        {"deployments": {"name": {"any_": [runbook]}, "tags": {"all_": [TAG]}}},
    )
    if not found:
        raise UsageRefused(
            f"runbook {runbook!r} is not served; `runbook list` shows which there are, "
            "and a new one is served after `runbook serve` was restarted"
        )
    return found[0]


def parse_parameters(schema: Schema, pairs: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of a run from `key=value` words.

    Raises UsageRefused, which tells of all problems at once.
    """
    properties: Schema = schema.get("properties", {})
    values: dict[str, Any] = {}
    problems: list[str] = []
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            problems.append(f"--param {pair!r}: write it as name=value")
        elif key not in properties:
            problems.append(f"no parameter {key!r}; there are: {', '.join(properties)}")
        else:
            try:
                values[key] = parse_value(schema, key, text)
            except UsageRefused as refused:
                problems.append(str(refused))
                values[key] = None
    missing = [option(key) for key in schema.get("required", ()) if key not in values]
    if missing:
        problems.append(f"missing: {', '.join(missing)}")
    if problems:
        raise UsageRefused("\n  ".join(problems))
    return values


def option(key: str) -> str:
    return "--cluster NAME" if key == "cluster" else f"--param {key}=..."


def parse_value(schema: Schema, key: str, text: str) -> Any:
    """Return one value as the schema wants it.  Raises UsageRefused."""
    wanted = resolved(schema, schema["properties"][key])
    choices = wanted.get("enum")
    if choices and text not in map(str, choices):
        raise UsageRefused(f"{key} is {text!r}, but must be one of: {', '.join(map(str, choices))}")
    kinds = {wanted.get("type"), *(each.get("type") for each in wanted.get("anyOf", ()))}
    if choices or "string" in kinds:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        kind = " or ".join(sorted(str(each) for each in kinds if each))
        raise UsageRefused(f"{key} is {text!r}, but must be a JSON {kind}") from error


def resolved(schema: Schema, field: Schema) -> Schema:
    """Return a field's schema with a reference to a definition followed."""
    reference = field.get("$ref") or next(
        (each["$ref"] for each in field.get("allOf", ()) if "$ref" in each), None
    )
    if reference is None:
        return field
    name = reference.rsplit("/", 1)[-1]
    definitions = schema.get("definitions") or schema.get("$defs") or {}
    return {**definitions.get(name, {}), **field}


def start_run(
    api: Api, deployment: Mapping[str, Any], parameters: Mapping[str, Any], started_by: str
) -> str:
    """Start a run and return its id.  Raises UsageRefused if the form refuses the parameters."""
    try:
        run = api.post(
            f"/deployments/{deployment['id']}/create_flow_run",
            {
                "parameters": dict(parameters),
                "state": {"type": "SCHEDULED", "name": "Scheduled", "message": "`runbook run`"},
                "tags": [f"started-by:{started_by}"],
                "idempotency_key": str(uuid4()),  # a repeated request must not start two
            },
        )
    except ApiRefused as refused:
        if refused.status in {409, 422}:
            raise UsageRefused(f"parameters refused: {refused.reason}") from refused
        raise
    return str(run["id"])
