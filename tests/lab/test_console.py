"""engine-console on real hosts: the password opens the console, in time and no later."""

import pytest

from tasks.journal import Kind, Phase
from tests.lab import care
from tests.lab.cluster import Lab
from tests.lab.control_node import ControlNode
from tests.lab.rfb import lets_in

pytestmark = [pytest.mark.lab, pytest.mark.slow]
CONSOLE = "engine-console"


def test_the_ticket_opens_the_console_and_expires(lab: Lab, control_node: ControlNode) -> None:
    care.wait_until_settled(lab)
    host = care.engine_host(lab)
    run_id = control_node.launch(CONSOLE)
    file = control_node.home / "console" / run_id
    lab.wait_until(lambda: bool(ticket_of(control_node, run_id)), 120, "the ticket is given")
    ticket = ticket_of(control_node, run_id)
    assert ticket["host"] == host
    assert file.stat().st_mode & 0o7777 == 0o600
    password = file.read_text().strip()
    console = lab.access.proxy(str(ticket["address"]), str(ticket["port"]))
    assert lets_in(console, password)
    assert not lets_in(console, password.swapcase())
    assert control_node.wait_for_end(run_id, 300)["state_type"] == "COMPLETED"
    assert not lets_in(console, password)
    assert not file.exists()
    assert lab.ssh(host, "ls /run/hosted-engine-runbooks").stdout == ""
    found = lab.ssh(
        host, f"grep -rl {password} /var/log /var/lib/hosted-engine-runbooks", check=False
    )
    assert found.stdout == ""
    here = [path for path in control_node.home.rglob("*") if path.is_file()]
    assert [path for path in here if password.encode() in path.read_bytes()] == []


def ticket_of(node: ControlNode, run_id: str) -> dict[str, object]:
    """What the run says of the ticket; nothing while there is none."""
    step = next((e.step for e in node.entries(run_id, Kind.WAIT, Phase.OUTCOME, "read_ticket")), "")
    entry = node.journal.find(run_id, Kind.WAIT, step, Phase.OUTCOME)
    return entry.payload["value"] if entry else {}
