"""`runbook undo` of a write: byte for byte, and only while everything is stopped."""

import pytest

from flows.restore_metadata import restore_metadata
from tasks.refusal import CheckRefused
from tasks.witnesses import block_at
from tests.lab import care
from tests.lab.care import BAD_BLOCK, BAD_HOST_ID, START, STOP, idle_host, volume_digest
from tests.lab.cluster import Lab
from tests.lab.control_node import ControlNode
from tests.lab.watched_dd import WatchedDd

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def test_the_undo_restores_every_byte_and_refuses_while_an_agent_runs(
    broken: Lab, control_node: ControlNode, dd: WatchedDd
) -> None:
    node, other, boot = control_node, idle_host(broken), care.boot_of_engine(broken)
    run_id = node.launch()
    node.wait_for_gate(run_id)
    before = volume_digest(broken)
    cancelled_in_the_write(broken, node, dd, run_id)
    assert volume_digest(broken) != before

    broken.ssh(other, START)
    said = refusal(node, run_id)
    assert f"{other}: agent active, broker active" in said
    assert "systemctl stop ovirt-ha-agent ovirt-ha-broker" in said
    assert dd.begun("if=/var/lib") == []
    broken.ssh(other, STOP)

    undo_id = node.undo(run_id)
    node.wait_for_gate(undo_id)
    node.answer(undo_id, "approve")
    assert node.wait_for_end(undo_id)["state_type"] == "COMPLETED"
    assert volume_digest(broken) == before
    assert len(dd.begun("if=/var/lib")) == 1
    care.require_hands_off(broken)
    assert care.boot_of_engine(broken) == boot


def cancelled_in_the_write(lab: Lab, node: ControlNode, dd: WatchedDd, run_id: str) -> None:
    """Approve the write and cancel the run when its bytes are there and it has not ended."""
    dd.hold("after")
    node.answer(run_id, "approve")
    dd.wait_until_held()
    zeros = bytes(len(BAD_BLOCK))
    lab.wait_until(lambda: block_at(care.whiteboard(lab), BAD_HOST_ID) == zeros, 30, "zeros")
    cancel = node.begin("cancel", run_id)
    said, _ = cancel.communicate(timeout=60)
    assert "Begun and not known to have ended: write_zeros." in said
    assert "stopped, as the run was cancelled" in said
    assert f"runbook undo {run_id}" in said
    assert "dd if=/var/lib" in said
    lab.wait_until(lambda: node.ended_as(run_id) == "cancelled", 30, "the journal has its end")
    dd.release()
    (host,) = [line.partition(":")[0] for line in dd.begun()]
    at_work = lab.ssh(host, "pgrep", "-f", run_id, check=False)
    assert (at_work.stdout, dd.ended()) == ("", []), "the write was left at work"
    assert care.services(lab) == {"inactive"}


def refusal(node: ControlNode, run_id: str) -> str:
    """Run the undo in this process on the real hosts; return how it is refused."""
    with node.here(), pytest.raises(CheckRefused) as refused:
        restore_metadata.fn("lab", run_id)
    return str(refused.value)
