"""The monitor's event becomes one run that waits at its gate, by a real server's automations."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from flows.proposals import EVENTS, RUNBOOKS, WATCH, proposals
from runbooks.catalogue import catalogue
from tasks.journal import Kind, Phase
from tests.flows.conftest import Served, wait_for

pytestmark = pytest.mark.slow

KIND = "forgotten-maintenance"
RUNBOOK = RUNBOOKS[KIND]


def post(served: Served, kind: str = KIND, cluster: str = "lab") -> None:
    """Report an anomaly as a host's broker does."""
    event = {
        "occurred": datetime.now(UTC).isoformat(),
        "event": f"{EVENTS}{kind}",
        "resource": {
            "prefect.resource.id": f"hosted-engine.{cluster}",
            "prefect.resource.name": cluster,
            "hosted-engine.host": "h1",
        },
        "payload": {
            "cluster": cluster,
            "host": "h1",
            "kind": kind,
            "detail": "on for {{ 7 * 7 }} hours",
            "since": "2026-11-22T12:00:00Z",
        },
        "id": str(uuid4()),
    }
    served.api.post("/events", [event])


def runs_of(served: Served, name: str) -> list[dict[str, Any]]:
    """The runs of a deployment, the newest first."""
    wanted = {
        "deployments": {"name": {"any_": [name]}},
        "sort": "EXPECTED_START_TIME_DESC",
        "limit": 50,
    }
    found: list[dict[str, Any]] = served.api.post("/flow_runs/filter", wanted)
    return found


def completed(served: Served) -> int:
    """How many events were dealt with."""
    return sum(run["state_type"] == "COMPLETED" for run in runs_of(served, "propose"))


def test_events_propose_one_run_that_waits_with_the_evidence(served: Served) -> None:
    mark = served.home / "proposed-and-approved"
    before = len(runs_of(served, RUNBOOK))
    post(served)
    wait_for(lambda: len(runs_of(served, RUNBOOK)) == before + 1)
    run = runs_of(served, RUNBOOK)[0]
    wait_for(lambda: served.state(run["id"]) == "Suspended")
    gate = served.json("status", run["id"])["gate"]
    assert gate["gate"] == "proposed"
    for wanted in ("forgotten-maintenance", "h1", "{{ 7 * 7 }}", "read_nothing", "2026-11-22T12"):
        assert wanted in gate["evidence"]
    # Nothing of the procedure was run, and nobody is kept out.
    steps = {entry.step for entry in served.journal.entries(run["id"])}
    assert steps == {RUNBOOK, "proposed"}
    assert not mark.exists()

    dealt_with = completed(served)
    post(served)
    post(served)
    wait_for(lambda: completed(served) == dealt_with + 2)
    assert len(runs_of(served, RUNBOOK)) == before + 1

    served.runbook("reject", run["id"], "--as", "ann", "--reason", "by hand")
    wait_for(lambda: served.ended_as(run["id"]) == "rejected")
    assert not mark.exists()

    post(served)
    wait_for(lambda: len(runs_of(served, RUNBOOK)) == before + 2)
    again = runs_of(served, RUNBOOK)[0]["id"]
    wait_for(lambda: served.state(again) == "Suspended")
    served.runbook("approve", again, "--as", "ann", "--reason", "go on")
    wait_for(lambda: served.ended_as(again) == "completed")
    assert mark.exists()


def test_a_proposal_that_would_be_refused_ends_and_asks_nobody(served: Served) -> None:
    before = len(runs_of(served, RUNBOOK))
    refuse = served.home / "refuse"
    refuse.touch()
    try:
        post(served)
        wait_for(lambda: len(runs_of(served, RUNBOOK)) == before + 1)
        run = runs_of(served, RUNBOOK)[0]["id"]
        wait_for(lambda: served.state(run) == "Failed")
    finally:
        refuse.unlink()
    [ended] = [e for e in served.journal.entries(run) if e.phase is Phase.ENDED]
    why = ended.payload["why"]
    assert "require_no_refusal" in why
    assert "nothing is wrong" in why
    assert not [e for e in served.journal.entries(run) if e.kind is Kind.GATE]


@pytest.mark.parametrize(("kind", "cluster"), [(KIND, "nowhere"), ("made-up", "lab")])
def test_what_nobody_knows_is_no_proposal(served: Served, kind: str, cluster: str) -> None:
    before = len(runs_of(served, RUNBOOK)), len(runs_of(served, "propose"))
    post(served, kind, cluster)
    if kind in RUNBOOKS:
        wait_for(lambda: len(runs_of(served, "propose")) == before[1] + 1)
        run = runs_of(served, "propose")[0]
        wait_for(lambda: served.state(run["id"]) == "Failed")
    assert len(runs_of(served, RUNBOOK)) == before[0]


def test_every_anomaly_has_a_runbook_of_the_catalogue() -> None:
    assert set(RUNBOOKS.values()) <= set(catalogue())
    assert {a["name"] for a in proposals("id")} == {f"monitor: {kind}" for kind in RUNBOOKS}
    for runbook in set(RUNBOOKS.values()) - {WATCH}:
        required = [p.name for p in catalogue()[runbook].parameters if p.required]
        assert required == ["cluster"], runbook
