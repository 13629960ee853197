"""The monitor proposes: a host reports what is wrong, and a run waits with nothing changed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.api import connect
from flows.server import Place
from tasks.witnesses import block_at
from tests.lab import care
from tests.lab.care import BAD_BLOCK, BAD_HOST_ID, idle_host
from tests.lab.cluster import Lab
from tests.lab.control_node import RUNBOOK, ControlNode
from tests.lab.relay import relayed, told_to

pytestmark = [pytest.mark.lab, pytest.mark.slow]

PROPOSED_WITHIN_SECONDS = 120
AGAIN_WITHIN_SECONDS = 30


@pytest.fixture
def told(lab: Lab, control_node: ControlNode, tmp_path: Path) -> Iterator[ControlNode]:
    """The control node, to which the hosts send their events; the cluster at work."""
    care.wait_until_settled(lab)
    credentials = control_node.credentials_file.read_text().strip()
    with relayed(lab, control_node.record.port, tmp_path) as url:
        with told_to(lab, url, credentials):
            care.wait_until_settled(lab)
            yield control_node
            lab.put_block(BAD_HOST_ID, bytes(len(BAD_BLOCK)))
            control_node.cancel_what_goes_on()
        care.mend(lab)


def runs(node: ControlNode, name: str) -> list[dict[str, Any]]:
    """The runs of a deployment, the newest first."""
    wanted = {"deployments": {"name": {"any_": [name]}}, "sort": "EXPECTED_START_TIME_DESC"}
    found: list[dict[str, Any]] = connect(Place(node.home)).post("/flow_runs/filter", wanted)
    return found


def test_a_bad_block_is_reported_and_one_run_waits(lab: Lab, told: ControlNode) -> None:
    node, before = told, len(runs(told, RUNBOOK))
    lab.put_block(BAD_HOST_ID, BAD_BLOCK)
    waited = lab.wait_until(
        lambda: len(runs(node, RUNBOOK)) > before, PROPOSED_WITHIN_SECONDS, "a run is proposed"
    )
    print(f"proposed after {waited:.0f} s")
    run_id = runs(node, RUNBOOK)[0]["id"]
    node.wait_for_gate(run_id)
    gate = node.status(run_id)["gate"]
    assert gate["gate"] == "proposed"
    for wanted in ("metadata-too-new", str(BAD_HOST_ID), "enter_global_maintenance", "dd"):
        assert wanted in gate["evidence"]
    # All three hosts see it, and each reports it.
    reported = len(lab.hosts)
    lab.wait_until(
        lambda: len(runs(node, "propose")) >= reported, AGAIN_WITHIN_SECONDS, "all have reported"
    )
    assert len(runs(node, RUNBOOK)) == before + 1
    untouched(lab)

    node.answer(run_id, "reject")
    assert node.wait_for_end(run_id)["state_type"] == "FAILED"
    assert node.ended_as(run_id) == "rejected"
    untouched(lab)


def test_the_watch_tells_of_a_host_that_cannot(lab: Lab, told: ControlNode) -> None:
    silent = idle_host(lab)
    lab.cut(silent)
    try:
        run_id = told.launch("watch")
        assert told.wait_for_end(run_id)["state_type"] == "COMPLETED"
    finally:
        lab.heal(silent)
    lab.wait_until(lambda: silent in unreachable(told), 30, "the event is there")


def untouched(lab: Lab) -> None:
    """Assert that nothing has been done to the cluster."""
    assert care.services(lab) == {"active"}
    assert "hands on" in care.states(lab)
    assert block_at(care.whiteboard(lab), BAD_HOST_ID) == BAD_BLOCK


def unreachable(node: ControlNode) -> list[str]:
    """The hosts that events called unreachable."""
    name = {"name": ["hosted-engine.anomaly.host-unreachable"]}
    found = connect(Place(node.home)).post("/events/filter", {"filter": {"event": name}})
    return [event["payload"]["host"] for event in found["events"]]
