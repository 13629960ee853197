"""The upgrade on real hosts: real RPMs by dnf from version 1 to 2, the engine stand-in first.

The monitor's code is the same in both versions: what is tested is how it gets there.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.journal import Kind, Phase
from tasks.upgrade_hosts import version_in
from tasks.witnesses import records
from tests.lab import care, rpm
from tests.lab.cluster import Lab
from tests.lab.control_node import ControlNode
from tests.lab.heartbeats import spans

pytestmark = [pytest.mark.lab, pytest.mark.slow]
RUNBOOK = "upgrade"
AT_WORK_WITHIN_SECONDS = 60
ENDS_WITHIN_SECONDS = 400
FAILS = "/etc/lab/fail-update"
ENGINE = "ovirt-engine {0}\\novirt-engine-setup {0}\\nlab-base {0}\\n"


@pytest.fixture
def version_1(lab: Lab, control_node: ControlNode) -> Iterator[Lab]:
    """The lab with the monitor as an RPM of version 1, and version 2 offered to all."""
    old, new = rpm.packages(lab, "1.0"), rpm.packages(lab, "2.0")
    names = [host.name for host in lab.hosts]

    def install(host: str) -> None:
        rpm.offer(lab, host, old)
        lab.ssh(host, "dnf", "-y", "-q", "install", rpm.MONITOR, "lab-extra")
        restart = "systemctl restart ovirt-ha-broker && systemctl restart ovirt-ha-agent"
        lab.ssh(host, f"systemctl daemon-reload && {restart}")

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(install, names))
    lab.wait_until(lambda: running(lab) == {"1.0-1"}, AT_WORK_WITHIN_SECONDS, "version 1 runs")
    care.wait_until_settled(lab)
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda host: rpm.offer(lab, host, new), names))
    lab.ssh("engine", f"printf '{ENGINE.format('2.0-1')}' > /var/lib/engine/available")
    yield lab
    care.on_all(lab, "rm", "-f", FAILS)
    run_id = control_node.unfinished(RUNBOOK)
    if run_id:
        control_node.read("cancel", run_id, accept=(0, 1))
    for name in names:
        lab.ssh(name, "hosted-engine", "--set-maintenance", "--mode=none", check=False)
    care.mend(lab)


def running(lab: Lab) -> set[str]:
    """The versions that the agents tell on the whiteboard."""
    told = records(care.whiteboard(lab))
    return {version_in(told[host.host_id].extra) for host in lab.hosts if host.host_id in told}


def installed(lab: Lab) -> set[str]:
    """The versions that rpm has, of both packages, on all hosts."""
    argv = ("rpm", "-q", "--qf", "%{VERSION}-%{RELEASE}\n", rpm.MONITOR, "lab-extra")
    return {line for said in care.on_all(lab, *argv).values() for line in said.split()}


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
    require_upgraded(lab)
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


def require_upgraded(lab: Lab) -> None:
    """Assert that every host has version 2, runs it, says so to the others, and is at work."""
    assert installed(lab) == {"2.0-1"}
    assert running(lab) == {"2.0-1"}
    assert set(care.on_all(lab, "hosted-engine", "--version").values()) == {"2.0-1\n"}
    care.wait_until_settled(lab)
