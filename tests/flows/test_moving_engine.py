"""The engine VM leaves a host where libvirt may not migrate it: by the engine, or by a restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.local_maintenance import maintain_host
from tasks.env import use_world
from tasks.gates import GateRejected
from tasks.lease import open_leases
from tasks.refusal import CheckRefused
from tasks.waiting import TimedOut
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import NO, YES, add_vm, by_libvirt, engine_on, in_local_maintenance

GLOBAL = ("hosted-engine", "--set-maintenance", "--mode=global")
RESTART = {**YES, "how": "restart: shut it down and start it elsewhere"}


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[FakeCluster]:
    """A cluster whose inventory says nothing of migration by libvirt."""
    with fake_cluster(tmp_path, bad={}) as cluster:
        add_vm(cluster)
        yield cluster


@pytest.fixture
def cluster(bare: FakeCluster) -> Iterator[FakeCluster]:
    with use_world(by_libvirt(bare)):
        yield bare


def with_vdsm(cluster: FakeCluster) -> None:
    for host in cluster.hosts.values():
        (host.root / "bin/vdsm-client").write_text("#!/bin/sh\n")
        (host.root / "bin/vdsm-client").chmod(0o755)


def test_with_vdsm_a_person_migrates_in_the_engine(cluster: FakeCluster) -> None:
    with_vdsm(cluster)

    def in_the_engine() -> None:
        cluster.hosts["h1"].set("vm", "")
        (cluster.hosts["h1"].root / "state/vm").unlink()
        cluster.hosts["h3"].set("vm", "running")

    cluster.answers, cluster.at_gate = [YES], in_the_engine
    maintain_host.fn("lab", "h1")
    assert (in_local_maintenance(cluster), engine_on(cluster)) == (["h1"], ["h3"])
    [(gate, evidence)] = cluster.asked
    assert gate == "approve_move"
    assert "VDSM manages h1" in evidence
    assert cluster.hosts["h1"].calls("virsh migrate") == []


def test_an_approval_without_the_migration_is_no_migration(cluster: FakeCluster) -> None:
    with_vdsm(cluster)
    cluster.answers = [YES]
    with pytest.raises(TimedOut, match="the engine VM has left h1"):
        maintain_host.fn("lab", "h1")
    assert in_local_maintenance(cluster) == []


@pytest.mark.parametrize("vdsm", [True, False])
def test_a_restart_elsewhere_is_under_global_maintenance(bare: FakeCluster, vdsm: bool) -> None:
    if vdsm:
        with_vdsm(bare)
    bare.answers = [RESTART if vdsm else YES]
    maintain_host.fn("lab", "h1")
    assert (in_local_maintenance(bare), engine_on(bare)) == (["h1"], ["h2"])
    assert bare.block(0).startswith(b"maintenance=0")
    assert open_leases("lab") == []
    assert len(bare.hosts["h1"].calls("hosted-engine --vm-shutdown")) == 1
    assert len(bare.hosts["h2"].calls("hosted-engine --vm-start")) == 1


def test_global_maintenance_of_before_stays_after_a_restart(bare: FakeCluster) -> None:
    bare.hosts["h3"].run(GLOBAL)
    bare.world.clock.sleep(20)
    bare.answers = [YES]
    maintain_host.fn("lab", "h1")
    assert bare.block(0).startswith(b"maintenance=1")


def test_a_rejected_restart_changes_nothing(bare: FakeCluster) -> None:
    bare.answers = [NO]
    with pytest.raises(GateRejected):
        maintain_host.fn("lab", "h1")
    assert (in_local_maintenance(bare), engine_on(bare)) == ([], ["h1"])


def test_a_vm_that_moved_during_the_gate_is_not_shut_down(bare: FakeCluster) -> None:
    def moved() -> None:
        (bare.hosts["h1"].root / "state/vm").rename(bare.hosts["h2"].root / "state/vm")

    bare.answers, bare.at_gate = [YES], moved
    with pytest.raises(CheckRefused, match="is on h2 now, and was on h1"):
        maintain_host.fn("lab", "h1")
    assert engine_on(bare) == ["h2"]


def test_a_start_that_only_says_so_is_no_start(bare: FakeCluster) -> None:
    bare.hosts["h2"].set("no-start", "")
    bare.answers = [YES]
    with pytest.raises(TimedOut, match="the engine is well on h2"):
        maintain_host.fn("lab", "h1")
    # Nobody starts it behind the operator's back.
    assert bare.block(0).startswith(b"maintenance=1")


def test_a_host_that_fell_out_during_the_gate_gets_no_engine_vm(bare: FakeCluster) -> None:
    bare.answers = [YES]
    bare.at_gate = lambda: bare.hosts["h2"].set("ovirt-ha-agent", "inactive")
    with pytest.raises(CheckRefused, match="h2 cannot take the engine VM any more"):
        maintain_host.fn("lab", "h1")
    assert engine_on(bare) == ["h1"]
