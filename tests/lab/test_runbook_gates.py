"""A gate rejected and a gate that nobody answers: what is left behind, and the way back."""

import re

import pytest

from tasks.journal import Kind, Phase
from tasks.witnesses import block_at
from tests.lab import care
from tests.lab.cluster import Lab
from tests.lab.control_node import RUNBOOK, ControlNode
from tests.lab.watched_dd import WatchedDd

pytestmark = [pytest.mark.lab, pytest.mark.slow]
FAILED = 1


def test_a_rejection_leaves_all_stopped_and_its_way_back_leads_back(
    broken: Lab, control_node: ControlNode, dd: WatchedDd
) -> None:
    node, boot = control_node, care.boot_of_engine(broken)
    following = node.begin("run", RUNBOOK, "--cluster=lab", "--wait")
    run_id = node.wait_for_run()
    node.wait_for_gate(run_id)
    at_the_gate = care.volume_digest(broken)
    node.answer(run_id, "reject")
    said, _ = following.communicate(timeout=60)
    assert following.returncode == FAILED
    assert "gate `approve_write` was rejected by ann: a test of the lab" in said
    assert node.ended_as(run_id) == "rejected"
    care.require_hands_off(broken)
    assert (care.volume_digest(broken), dd.begun("")) == (at_the_gate, [])
    follow_way_back(broken, said)
    assert care.boot_of_engine(broken) == boot


def test_a_gate_that_nobody_answers_expires_and_the_run_fails(
    broken: Lab, control_node: ControlNode, dd: WatchedDd
) -> None:
    node, boot = control_node, care.boot_of_engine(broken)
    usual = node.set_limit("gate_expires_seconds", 4)
    try:
        run_id = node.launch()
        ended = node.wait_for_end(run_id)
    finally:
        node.set_limit("gate_expires_seconds", usual)
    assert (ended["state_type"], node.ended_as(run_id)) == ("FAILED", "expired")
    (decision,) = node.entries(run_id, Kind.GATE, Phase.DECISION)
    assert (decision.payload["decision"], decision.actor, decision.via) == ("expired", "", "clock")
    care.require_hands_off(broken)
    assert dd.begun("") == []
    assert care.boot_of_engine(broken) == boot
    assert node.begin("follow", run_id).wait(30) == FAILED
    assert "waits at no gate" in node.complaint("approve", run_id, "--reason=late")


def follow_way_back(lab: Lab, said: str) -> None:
    """Do what the command printed, word by word, on the hosts that it names."""
    _, _, way_back = said.rpartition("The way back:")
    lines = re.findall(r"^ *- (.*)$", way_back, re.MULTILINE)
    commands = dict(line.rsplit(": ", 1) for line in lines)
    assert not [command for command in commands.values() if command.startswith(("dd ", "runbook"))]
    start = commands["Then on every host"]
    leave = commands["When all hosts are seen in GlobalMaintenance, on one of them"]
    assert block_at(care.whiteboard(lab), care.BAD_HOST_ID) == care.BAD_BLOCK
    care.on_all(lab, start)
    lab.wait_until(lambda: care.states(lab) == care.HANDS_OFF, 60, "all in GlobalMaintenance")
    lab.ssh(lab.hosts[0].name, leave)
    lab.wait_until(lambda: care.states(lab) == care.AT_WORK, 60, "the cluster is at work")
