"""The upgrade on real hosts: real RPMs by dnf from version 1 to 2, the engine stand-in first.

The monitor's code is the same in both versions: what is tested is how it gets there.
"""

from collections.abc import Iterator

import pytest

from tasks.journal import Kind, Phase
from tests.lab import care
from tests.lab.cluster import Lab
from tests.lab.control_node import ControlNode
from tests.lab.heartbeats import spans
from tests.lab.versions import all_are_new, begin_with_the_old, installed, running

pytestmark = [pytest.mark.lab, pytest.mark.slow]
RUNBOOK = "upgrade"
ENDS_WITHIN_SECONDS = 400
FAILS = "/etc/lab/fail-update"


@pytest.fixture
def version_1(lab: Lab, control_node: ControlNode) -> Iterator[Lab]:
    """The lab at version 1, and version 2 offered to all."""
    begin_with_the_old(lab)
    yield lab
    care.on_all(lab, "rm", "-f", FAILS)
    run_id = control_node.unfinished(RUNBOOK)
    if run_id:
        control_node.read("cancel", run_id, accept=(0, 1))
    care.on_all(lab, care.LEAVE_MAINTENANCE)
    care.mend(lab)


def approve(node: ControlNode, run_id: str) -> None:
    """Approve what waits; nothing is destroyed, so no target is typed."""
    node.wait_for_gate(run_id)
    node.read("approve", run_id, "--as", "ann", "--reason", "a test of the lab")


def outcomes(node: ControlNode, run_id: str) -> dict[str, str]:
    """How each change of the run ended."""
    ended = node.entries(run_id, Kind.CHANGE, Phase.OUTCOME)
    return {entry.step: str(entry.payload["value"]) for entry in ended}


def updates(node: ControlNode, run_id: str) -> list[tuple[str, int]]:
    """The updates of packages in the order in which they ended, with their exit codes."""
    ended = node.entries(run_id, Kind.REMOTE, Phase.OUTCOME, "update_packages")
    return [(entry.step, entry.payload["exit_code"]) for entry in ended]


def test_three_hosts_and_the_engine_go_from_version_1_to_2(
    version_1: Lab, control_node: ControlNode
) -> None:
    lab, node = version_1, control_node
    boots, was_on = len(spans(lab.heartbeats())), care.engine_host(lab)
    canary = care.idle_host(lab)
    rest = next(host.name for host in lab.hosts if host.name not in (canary, was_on))
    # The second one fails half-way: one package of two is not replaced.
    lab.ssh(rest, "touch", FAILS)
    run_id = stops_at_the_second(lab, node, canary, rest)
    assert updates(node, run_id) == [
        (f"update_packages.1@{canary}", 0),
        (f"update_packages.1@{rest}", 1),
    ]
    assert care.engine_host(lab) == was_on
    # Corrected, and on it goes with a run that leaves out what is done.
    lab.ssh(rest, "rm", FAILS)
    again = node.launch(RUNBOOK)
    approve(node, again)
    wait_for_second_gate(lab, node, again)
    approve(node, again)
    ended = node.wait_for_end(again, ENDS_WITHIN_SECONDS)
    assert ended["state_type"] == "COMPLETED", ended["message"]
    hosts = [step.partition("@")[2] for step, _ in updates(node, again)]
    assert hosts == [rest, was_on]
    assert all_are_new(lab)
    care.wait_until_settled(lab)
    done = outcomes(node, again)
    assert (done["run_engine_setup"], done[f"move_engine_vm@{was_on}"]) == ("already", "changed")
    # Moved live: not booted again, never two at once.
    assert len(spans(lab.heartbeats())) == boots
    assert lab.overlaps() == []
    assert care.engine_host(lab) != was_on


def stops_at_the_second(lab: Lab, node: ControlNode, canary: str, rest: str) -> str:
    """Run until the second host's update fails; return the run's id."""
    run_id = node.launch(RUNBOOK, canary=canary)
    node.wait_for_gate(run_id)
    assert (running(lab), installed(lab)) == ({"1.0-1"}, {"1.0-1"})
    approve(node, run_id)
    wait_for_second_gate(lab, node, run_id)
    assert lab.ssh("engine", "rpm -q ovirt-engine").stdout.strip() == "2.0-1"
    assert running(lab) == {"1.0-1", "2.0-1"}
    approve(node, run_id)
    failed = node.wait_for_end(run_id, ENDS_WITHIN_SECONDS)
    assert failed["state_type"] == "FAILED"
    assert f"{rest} stays in local maintenance" in failed["message"]
    assert installed(lab) == {"1.0-1", "2.0-1"}
    return run_id


def wait_for_second_gate(lab: Lab, node: ControlNode, run_id: str) -> None:
    """Wait until the run has upgraded its first host, and asks."""

    def asks() -> bool:
        return len(node.entries(run_id, Kind.GATE, Phase.INTENT)) == 2

    lab.wait_until(asks, ENDS_WITHIN_SECONDS, "the first host is done")
    node.wait_for_gate(run_id)
