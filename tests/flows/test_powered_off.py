"""A host that is switched off: both repairs go on without it, once it is silent and attested."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.recover_lockspace import recover
from flows.zero_metadata import zero_metadata
from tasks.gates import GateRejected
from tasks.lockspace_area import faults, held
from tasks.refusal import CheckRefused
from tests.fake_cluster import APPROVED, REJECTED, TOO_NEW, FakeCluster, fake_cluster, unreachable
from tests.fake_lockspace import FakeLockspace, zeros

ATTESTED = {**APPROVED, "target": "h3"}
STATUS = "3 timestamp {timestamp}\n    last_check=900\n    last_live={live}\n    owner_id=3\n"
DEAD = STATUS.format(timestamp=700, live=700)
ALIVE = STATUS.format(timestamp=700, live=800)
FREE = STATUS.format(timestamp=0, live=900)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    """Three hosts, of which the third has lost its power."""
    with fake_cluster(tmp_path) as cluster:
        off = cluster.hosts["h3"]
        for unit in ("ovirt-ha-agent", "ovirt-ha-broker"):
            off.set(unit, "inactive")
        off.trouble = unreachable("h3")
        yield cluster


@pytest.fixture
def lockspace(cluster: FakeCluster) -> FakeLockspace:
    lockspace = FakeLockspace(cluster)
    say(cluster, DEAD)
    return lockspace


def say(cluster: FakeCluster, status: str, hosts: str = "h1 h2") -> None:
    for name in hosts.split():
        cluster.hosts[name].set("host_status", status)


@pytest.mark.parametrize("status", [DEAD, FREE, "1 timestamp 900\n"])
def test_metadata_is_repaired_without_it(
    cluster: FakeCluster, lockspace: FakeLockspace, status: str
) -> None:
    say(cluster, status)
    cluster.answers = [ATTESTED, APPROVED]
    zero_metadata.fn("lab", powered_off="h3")
    assert cluster.block(52) == bytes(4096)
    assert [gate for gate, _ in cluster.asked] == ["approve_powered_off", "approve_write"]
    evidence = cluster.asked[0][1]
    assert "its lease, as h1 sees it:" in evidence
    assert "type the names: `h3`" in evidence
    assert "proven stopped on: **h2, h1**" in cluster.asked[1][1]
    assert cluster.hosts["h3"].get("ovirt-ha-agent") == "inactive"


def test_the_lockspace_is_recovered_without_it(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    cluster.put(52, bytes(4096))
    lockspace.spoil(zeros())
    cluster.answers = [ATTESTED, APPROVED, APPROVED]
    recover.fn("lab", powered_off="h3")
    assert faults(lockspace.slots()) == {}
    assert list(held(lockspace.slots())) == [1, 2]


def writes(cluster: FakeCluster) -> None:
    cluster.strangers[3] = 10


def answers(cluster: FakeCluster) -> None:
    cluster.hosts["h3"].trouble = None


def is_alive(cluster: FakeCluster) -> None:
    say(cluster, ALIVE, "h2")


def nobody_knows(cluster: FakeCluster) -> None:
    for name in ("h1", "h2"):
        (cluster.hosts[name].root / "state/host_status").unlink()


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (writes, "h3 writes to the whiteboard"),
        (answers, "h3 answers.*without powered_off"),
        (is_alive, "sanlock on h2 has seen h3 alive within the last 140 s"),
        (nobody_knows, "no host is in the storage domain's lockspace"),
    ],
)
def test_a_host_that_is_not_silent_is_refused(
    cluster: FakeCluster,
    lockspace: FakeLockspace,
    trouble: Callable[[FakeCluster], None],
    message: str,
) -> None:
    trouble(cluster)
    with pytest.raises(CheckRefused, match=message):
        zero_metadata.fn("lab", powered_off="h3")
    assert cluster.asked == []
    assert cluster.block(52) == TOO_NEW


@pytest.mark.parametrize(
    ("named", "message"), [("h9", "no host h9 in the inventory"), ("h3,h2,h1", "no host is left")]
)
def test_names_are_checked(
    cluster: FakeCluster, lockspace: FakeLockspace, named: str, message: str
) -> None:
    if "h2" not in named:
        cluster.hosts["h3"].trouble = None
    with pytest.raises(CheckRefused, match=message):
        zero_metadata.fn("lab", powered_off=named)


def test_who_does_not_attest_it_ends_the_run(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    cluster.answers = [REJECTED]
    with pytest.raises(GateRejected):
        zero_metadata.fn("lab", powered_off="h3")
    assert cluster.hosts["h1"].get("ovirt-ha-agent") == "active"


def test_a_host_that_is_away_and_not_named_is_refused(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    with pytest.raises(CheckRefused, match="h3: cannot be reached"):
        zero_metadata.fn("lab")
