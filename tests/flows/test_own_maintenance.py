"""Global maintenance of somebody else outlives the runs that need it on their way."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.boot_rescue import boot_rescue
from flows.enter_global_maintenance import enter_maintenance
from flows.local_maintenance import maintain_host
from flows.recover_lockspace import recover
from flows.zero_metadata import zero_metadata
from tasks.gates import GateRejected
from tasks.lease import open_leases
from tests.fake_cluster import APPROVED, REJECTED, TOO_NEW, FakeCluster, fake_cluster
from tests.fake_lockspace import FakeLockspace
from tests.fake_vm import YES, add_vm

GLOBAL = ("hosted-engine", "--set-maintenance", "--mode=global")
NONE = "hosted-engine --set-maintenance --mode=none"
STAYS = "global maintenance **stays on** at the end of the run"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as cluster:
        add_vm(cluster)
        yield cluster


def lockspace(cluster: FakeCluster) -> None:
    FakeLockspace(cluster).spoil(bytes(512), 2 * 512)
    cluster.answers = [APPROVED]
    recover.fn("lab")


def too_new(cluster: FakeCluster) -> None:
    cluster.put(52, TOO_NEW)
    cluster.answers = [APPROVED]
    zero_metadata.fn("lab")


def rescue(cluster: FakeCluster) -> None:
    cluster.answers = [YES, YES]
    boot_rescue.fn("lab", "/var/lib/rescue.iso")


def by_a_colleague(cluster: FakeCluster) -> None:
    enter_maintenance.fn("lab", "disk repair")


def by_hand(cluster: FakeCluster) -> None:
    cluster.hosts["h3"].run(GLOBAL)
    cluster.world.clock.sleep(20)


def given(cluster: FakeCluster) -> list[str]:
    return [call for host in cluster.hosts.values() for call in host.calls(NONE)]


@pytest.mark.parametrize("work", [lockspace, too_new, rescue])
@pytest.mark.parametrize(("set_it", "keeper"), [(by_a_colleague, "disk repair"), (by_hand, "hand")])
def test_what_somebody_else_has_set_stays_and_the_gate_says_so(
    cluster: FakeCluster,
    work: Callable[[FakeCluster], None],
    set_it: Callable[[FakeCluster], None],
    keeper: str,
) -> None:
    set_it(cluster)
    before = [each.run_id for each in open_leases("lab")]
    work(cluster)
    assert cluster.block(0).startswith(b"maintenance=1")
    assert given(cluster) == []
    assert [each.run_id for each in open_leases("lab")] == before
    evidence = cluster.asked[0][1]
    assert STAYS in evidence
    assert keeper in evidence


def test_an_engine_vm_that_is_off_on_purpose_stays_off(cluster: FakeCluster) -> None:
    by_a_colleague(cluster)
    cluster.hosts["h1"].run(("hosted-engine", "--vm-shutdown"))
    cluster.world.clock.sleep(20)
    cluster.ha_starts_engine = True
    lockspace(cluster)
    assert not any(host.get("vm") for host in cluster.hosts.values())


def test_what_an_earlier_run_of_the_runbook_has_set_is_left(cluster: FakeCluster) -> None:
    FakeLockspace(cluster).spoil(bytes(512), 2 * 512)
    cluster.answers = [REJECTED]
    with pytest.raises(GateRejected):
        recover.fn("lab")
    assert cluster.block(0).startswith(b"maintenance=1")
    for host in cluster.hosts.values():
        host.set("calls", "")
    cluster.answers = [APPROVED, APPROVED]
    recover.fn("lab")
    assert cluster.block(0).startswith(b"maintenance=0")
    assert open_leases("lab") == []


def test_the_gate_says_that_ha_will_start_an_engine_that_is_down(cluster: FakeCluster) -> None:
    cluster.hosts["h1"].run(("hosted-engine", "--vm-poweroff"))
    cluster.world.clock.sleep(20)
    FakeLockspace(cluster).spoil(bytes(512), 2 * 512)
    cluster.answers = [REJECTED]
    with pytest.raises(GateRejected):
        recover.fn("lab")
    assert "the engine VM was **down: HA will start it**" in cluster.asked[0][1]


def test_what_is_set_by_hand_at_the_gate_of_a_move_stays(cluster: FakeCluster) -> None:
    cluster.answers, cluster.at_gate = [YES], lambda: by_hand(cluster)
    maintain_host.fn("lab", "h1")
    assert cluster.block(0).startswith(b"maintenance=1")
    assert cluster.hosts["h2"].get("vm") == "running"
    assert open_leases("lab") == []
