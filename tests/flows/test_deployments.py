"""The deployments' forms: descriptions from the catalogue, choices from the inventory."""

from typing import Any

import pytest

from flows.deployments import CLUSTER, HOSTS, deployment
from flows.server import TAG
from runbooks.catalogue import Entry, catalogue

ENTRIES = tuple(catalogue().values())
CLUSTERS = {"west": ("w1", "w2"), "east": ("e1",)}


def form(entry: Entry) -> dict[str, Any]:
    made = deployment(entry, CLUSTERS)
    return dict(made._parameter_openapi_schema.properties)


def choices(schema: dict[str, Any]) -> list[str]:
    (found,) = [each["enum"] for each in (schema, *schema.get("anyOf", ())) if "enum" in each]
    return list(found)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_parameter_is_described_and_names_are_chosen(entry: Entry) -> None:
    properties = form(entry)
    for parameter in entry.parameters:
        assert properties[parameter.name]["description"] == parameter.says
    assert choices(properties[CLUSTER]) == ["east", "west"]
    for name in HOSTS:
        if name in properties:
            assert choices(properties[name]) == ["e1", "w1", "w2"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_deployment_has_its_page_its_risk_and_one_run_at_a_time(entry: Entry) -> None:
    made = deployment(entry, CLUSTERS)
    assert set(made.tags) >= {TAG, f"risk:{entry.risk}"}
    assert entry.title in (made.description or "")
    assert made.concurrency_limit is not None


def test_without_an_inventory_names_are_typed() -> None:
    made = deployment(ENTRIES[0], {})
    assert "enum" not in str(made._parameter_openapi_schema.properties[CLUSTER])
