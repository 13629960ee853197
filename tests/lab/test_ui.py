"""The runbook from the Prefect UI alone: started by its form, approved by the gate's form.

With PICTURES=FOLDER the pages are kept as pictures, for the README.
"""

import os
from pathlib import Path

import httpx
import pytest

from tasks.journal import Kind, Phase
from tests.lab.browser import CHROMIUM, Browser, browser
from tests.lab.care import unsettled
from tests.lab.cluster import Lab
from tests.lab.control_node import RUNBOOK, ControlNode

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"{CHROMIUM} is not installed"),
]
APPROVER = "ann"


def test_a_runbook_is_started_and_approved_in_the_ui(
    broken: Lab, control_node: ControlNode
) -> None:
    node = control_node
    with browser(node.ui_url()) as ui:
        ui.log_in(node.credentials_file.read_text().strip())
        ui.show("/deployments", RUNBOOK)
        keep(ui, "ui-runbooks")
        ui.start_run(RUNBOOK, "lab")
        keep(ui, "ui-form")
        ui.submit()
        run_id = node.wait_for_run()
        node.wait_for_gate(run_id)
        ui.answer_gate(
            run_id, "approve", {"approver": APPROVER, "reason": "ticket 4711", "target": "lab"}
        )
        keep(ui, "ui-gate")
        ui.submit()
        ended = node.wait_for_end(run_id)
        assert ended["state_type"] == "COMPLETED", ended["message"]
        ui.show(f"/runs/flow-run/{run_id}", "Completed")
        keep(ui, "ui-run")
        for key in ("cluster-before", "block-table", "cluster-after", "timeline"):
            ui.show_artifact(key)
            keep(ui, f"ui-{key}")
        assert ui.asked_hosts == {ui.url.split("/")[2]}, "the UI asked another host"
    (decision,) = node.entries(run_id, Kind.GATE, Phase.DECISION)
    assert (decision.actor, decision.via) == (APPROVER, "prefect")
    assert unsettled(broken) == ""


def test_the_server_wants_a_password(control_node: ControlNode) -> None:
    asked = httpx.post(f"{control_node.record.url}/flow_runs/filter", json={})
    assert asked.status_code == httpx.codes.UNAUTHORIZED


def keep(ui: Browser, name: str) -> None:
    """Keep what the page shows, if pictures are wanted."""
    folder = os.environ.get("PICTURES")
    if folder:
        ui.picture(Path(folder) / f"{name}.png")
