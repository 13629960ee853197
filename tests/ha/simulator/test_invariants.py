"""The judge: what it calls broken, and what it does not."""

from collections.abc import Iterator

import pytest

from ha.core.record import BLOCK_BYTES, encode_global
from ha.core.sighting import VmState
from ha.simulator.cluster import Cluster
from ha.simulator.engine import Vm
from ha.simulator.processes import Process
from ha.simulator.site import Plan


@pytest.fixture
def pair() -> Iterator[Cluster]:
    with Cluster(Plan(hosts=2, first="host1")) as made:
        made.run_until(200)
        yield made


def broken(made: Cluster) -> list[str]:
    """What is broken, without the time."""
    return [what.split(" s: ")[1] for what in made.invariants.broken]


def act(made: Cluster, number: int, action: str, *, name: str = "ovirt-ha-agent") -> None:
    host = made.hosts[number]
    host.libvirt.act(Process(name, host.name, host.boot), action)


def test_a_second_vm_is_seen_when_it_begins_to_run(pair: Cluster) -> None:
    pair.hosts[1].libvirt.appear(arrived=Vm(7, VmState.UP))
    assert broken(pair) == ["the engine VM runs on host1 and host2"]


def test_a_second_vm_that_was_frozen_is_seen_at_the_thaw(pair: Cluster) -> None:
    pair.do("freeze host1")
    pair.hosts[1].libvirt.appear(arrived=Vm(7, VmState.UP))
    assert broken(pair) == []
    pair.do("thaw host1")
    assert broken(pair) == ["the engine VM runs on host1 and host2"]


def test_a_paused_one_does_not_run(pair: Cluster) -> None:
    pair.hosts[1].libvirt.appear(arrived=Vm(7, VmState.PAUSED))
    assert broken(pair) == []


@pytest.mark.parametrize(
    ("action", "name", "what"),
    [
        ("start", "ovirt-ha-agent", ["host2: start of the VM in global maintenance"]),
        ("shutdown", "ovirt-ha-agent", ["host2: shutdown of the VM in global maintenance"]),
        ("power-off", "ovirt-ha-agent", ["host2: power-off of the VM in global maintenance"]),
        ("end-start", "ovirt-ha-agent", []),  # it ends only what waits
        ("start", "hosted-engine", []),  # a person may
    ],
)
def test_in_global_maintenance_agents_keep_their_hands_off(
    pair: Cluster, action: str, name: str, what: list[str]
) -> None:
    act(pair, 1, action, name=name)
    assert broken(pair) == []
    pair.do("maintenance global")
    pair.run_until(pair.now + 5)
    act(pair, 1, action, name=name)
    assert broken(pair) == what


def test_in_local_maintenance_this_hosts_agent_starts_nothing(pair: Cluster) -> None:
    pair.do("local-maintenance host2 on")
    act(pair, 1, "start")  # a turn may be under way
    pair.run_until(pair.now + 31)
    act(pair, 0, "start")
    act(pair, 1, "shutdown")
    assert broken(pair) == []
    act(pair, 1, "start")
    assert broken(pair) == ["host2: start of the VM in local maintenance"]


def test_an_acknowledged_flag_that_is_overwritten_is_seen(pair: Cluster) -> None:
    pair.do("maintenance global")
    pair.run_until(pair.now + 5)
    assert pair.global_maintenance is True
    pair.hosts[0].site.storage.write("host2", 0, encode_global(False))
    assert broken(pair) == ["host2 changes global maintenance, which nobody asked for"]


def test_an_operator_may_change_the_flag_again(pair: Cluster) -> None:
    for words, on in (("maintenance global", True), ("maintenance none", False)):
        pair.do(words)
        pair.run_until(pair.now + 5)
        assert pair.global_maintenance is on
    assert broken(pair) == []


def test_a_write_of_another_hosts_block_is_seen(pair: Cluster) -> None:
    for told in pair.hosts[0].site.storage.on_request:
        told("host1", 2)
        told("host1", 0)
    assert "host1" in broken(pair)[0]
    assert "block 2" in broken(pair)[0]
    assert broken(pair)[1] == "host1 writes block 0 and nobody asked for it"


def test_garbage_is_no_acknowledged_change(pair: Cluster) -> None:
    pair.do("maintenance global")
    pair.run_until(pair.now + 5)
    pair.do("garbage 0")
    pair.hosts[0].site.storage.write("host2", 0, bytes(BLOCK_BYTES))
    assert broken(pair) == []
