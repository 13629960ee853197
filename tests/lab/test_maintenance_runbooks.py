"""Global and local maintenance on real hosts; the engine VM moves live and beats on."""

from collections.abc import Iterator

import pytest

from flows.end_local_maintenance import return_host
from flows.enter_global_maintenance import enter_maintenance
from flows.leave_global_maintenance import leave_maintenance
from flows.local_maintenance import maintain_host
from tasks.env import SystemClock
from tasks.lease import leases_in
from tasks.refusal import CheckRefused
from tests.lab import care
from tests.lab.cluster import Lab
from tests.lab.control_node import ControlNode

pytestmark = [pytest.mark.lab, pytest.mark.slow]
FLAGS = "cat /var/lib/ovirt-hosted-engine-ha/ha.conf"


@pytest.fixture(autouse=True)
def at_work(lab: Lab, control_node: ControlNode) -> Iterator[None]:
    care.wait_until_settled(lab)
    with control_node.here():
        yield
    for host in lab.hosts:
        lab.ssh(host.name, care.LEAVE_MAINTENANCE, check=False)
    care.wait_until_settled(lab)


def test_global_maintenance_is_entered_and_left(lab: Lab, control_node: ControlNode) -> None:
    enter_maintenance.fn("lab", "a test of the lab", 1.0)
    assert care.states(lab) == care.HANDS_OFF
    [held] = leases_in(control_node.journal, SystemClock().now(), "lab")
    assert (held.reason, held.overdue) == ("a test of the lab", False)
    leave_maintenance.fn("lab")
    assert care.states(lab) == care.AT_WORK


def test_the_engine_vm_moves_live_and_its_host_leaves_and_returns(lab: Lab) -> None:
    host, boot = care.engine_host(lab), care.boot_of_engine(lab)
    maintain_host.fn("lab", host)
    assert care.engine_host(lab) != host
    assert lab.ssh(host, FLAGS).stdout.count("=True") == 2
    # The same boot goes on beating: it was moved, not restarted, and never ran twice.
    last = lab.heartbeats()[-1]
    assert last.boot_id == boot
    lab.wait_until(lambda: lab.heartbeats()[-1].seq > last.seq, 30, "the engine beats")
    assert care.boot_of_engine(lab) == boot
    assert lab.overlaps() == []
    return_host.fn("lab", host)
    assert lab.ssh(host, FLAGS).stdout.count("=True") == 0


def test_global_maintenance_outlives_a_hosts(lab: Lab) -> None:
    host = care.idle_host(lab)
    enter_maintenance.fn("lab", "a test of the lab")
    maintain_host.fn("lab", host)
    assert lab.ssh(host, FLAGS).stdout.count("=True") == 2
    return_host.fn("lab", host)
    assert care.states(lab) == care.HANDS_OFF
    leave_maintenance.fn("lab")


def test_the_last_but_one_host_is_kept(lab: Lab) -> None:
    busy, idle = care.engine_host(lab), care.idle_host(lab)
    maintain_host.fn("lab", idle)
    with pytest.raises(CheckRefused, match="acknowledge_no_failover=true"):
        maintain_host.fn("lab", busy)
    return_host.fn("lab", idle)
