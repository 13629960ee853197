"""The UI on runs that need no lab: reject at a gate, cancel, retry."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.conftest import Served, executions, wait_for, waiting
from tests.lab.browser import CHROMIUM, Browser, browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"{CHROMIUM} is not installed"),
]


@pytest.fixture
def ui(served: Served) -> Iterator[Browser]:
    with browser(served.record().ui_url) as opened:
        opened.log_in(served.place.credentials.read_text().strip())
        yield opened


def test_a_gate_is_rejected_in_the_ui_and_a_retry_does_not_pass_it(
    served: Served, ui: Browser
) -> None:
    run_id, before = waiting(served)
    answer = {"approver": "bob", "reason": "not tonight", "target": "x"}
    ui.answer_gate(run_id, "reject", answer)
    ui.submit()
    wait_for(lambda: served.state(run_id) == "Failed")
    ui.press(run_id, "Failed", "Retry", "Retry")
    wait_for(lambda: served.attempts(run_id) == 3)  # started, resumed, retried
    wait_for(lambda: served.state(run_id) == "Failed")
    assert served.ended_as(run_id) == "rejected"
    assert executions(served.folder_of(run_id)) == before


def test_a_run_is_cancelled_in_the_ui_and_a_retry_goes_on_where_it_was(
    served: Served, ui: Browser
) -> None:
    folder = served.folder()
    run_id = served.start(folder, seconds=60)
    wait_for(lambda: "middle" in executions(folder))
    ui.press(run_id, "Running", "Cancel", "Confirm")
    wait_for(lambda: served.state(run_id) == "Cancelled")
    wait_for(lambda: not served.engines(run_id))
    wait_for(lambda: served.ended_as(run_id) == "cancelled")
    assert executions(folder) == ["first", "middle"]
    ui.press(run_id, "Cancelled", "Retry", "Retry")
    wait_for(lambda: executions(folder) == ["first", "middle", "middle"])
    served.runbook("cancel", run_id)
