"""`runbook undo` of a write: byte for byte, and only while everything is stopped."""

from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest

from flows.restore_metadata import restore_metadata
from flows.zero_metadata import zero_metadata
from tasks.refusal import CheckRefused
from tasks.witnesses import block_at
from tests.lab import care
from tests.lab.care import BAD_BLOCK, BAD_HOST_ID, START, STOP, idle_host, volume_digest
from tests.lab.cluster import Lab
from tests.lab.control_node import APPROVED, ControlNode
from tests.lab.watched_dd import WatchedDd

pytestmark = [pytest.mark.lab, pytest.mark.slow]


class EndedHere(Exception):
    """The run is made to fail between its write and its first start of a service."""


def test_the_undo_restores_every_byte_and_refuses_while_an_agent_runs(
    broken: Lab, control_node: ControlNode, dd: WatchedDd
) -> None:
    node, other, boot = control_node, idle_host(broken), care.boot_of_engine(broken)
    before = failed_after_the_write(broken, node)
    run_id = node.latest()
    assert volume_digest(broken) != before

    broken.ssh(other, START)
    with node.here(), pytest.raises(CheckRefused) as refused:
        restore_metadata.fn("lab", run_id)
    assert f"{other}: agent active, broker active" in str(refused.value)
    assert "systemctl stop ovirt-ha-agent ovirt-ha-broker" in str(refused.value)
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


def failed_after_the_write(lab: Lab, node: ControlNode) -> str:
    """Run the procedure until it has written; return the volume's digest before that."""
    seen: list[str] = []

    def approve(_gate: str, _shown: Mapping[str, Any]) -> Mapping[str, Any]:
        seen.append(volume_digest(lab))
        return APPROVED

    ends = mock.patch("flows.zero_metadata.start_canary", side_effect=EndedHere)
    with node.here(approve), ends, pytest.raises(EndedHere):
        zero_metadata.fn("lab")
    assert block_at(care.whiteboard(lab), BAD_HOST_ID) == bytes(len(BAD_BLOCK))
    assert care.services(lab) == {"inactive"}
    (before,) = seen
    return before
