"""The runbook metadata-too-new and its undo, whole, on fake hosts over a real file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from flows.restore_metadata import restore_metadata
from flows.zero_metadata import zero_metadata
from tasks.gates import GateRejected
from tasks.journal import Kind, Phase
from tests.fake_cluster import APPROVED, REJECTED, TOO_NEW, FakeCluster, fake_cluster

ZERO = bytes(4096)


@pytest.fixture(scope="module", autouse=True)
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=90):
        yield


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path) as cluster:
        yield cluster


def last_run_id(cluster: FakeCluster) -> str:
    return cluster.world.journal.runs("lab")[0].run_id


def test_the_bad_block_is_zeroed_and_the_cluster_is_stable_again(cluster: FakeCluster) -> None:
    before = cluster.file.read_bytes()
    cluster.answers = [APPROVED]
    zero_metadata("lab")
    assert cluster.block(52) == ZERO
    assert cluster.block(0).startswith(b"maintenance=0")
    assert cluster.file.stat().st_size == len(before)
    assert cluster.file.read_bytes()[53 * 4096 :] == before[53 * 4096 :]
    assert all(h.get("ovirt-ha-agent") == "active" for h in cluster.hosts.values())


def test_the_gate_shows_what_will_be_destroyed(cluster: FakeCluster) -> None:
    cluster.answers = [APPROVED]
    zero_metadata("lab")
    [(gate, evidence)] = cluster.asked
    assert gate == "approve_write"
    for wanted in ("**52**", "seek=52 count=1", "SHA-256", "h1", "h2", "h3", "10485760 bytes"):
        assert wanted in evidence


def test_everything_is_zeroed_when_asked_and_maintenance_is_kept(cluster: FakeCluster) -> None:
    cluster.answers = [{**APPROVED, "scope": "everything, as the Howto says"}]
    zero_metadata("lab")
    tail = cluster.file.read_bytes()[4 * 4096 :]
    assert tail == bytes(len(tail))
    journal = cluster.world.journal
    run = last_run_id(cluster)
    wrote = journal.find(run, Kind.CHANGE, "write_maintenance_flag", Phase.OUTCOME)
    assert wrote is not None
    assert wrote.payload["value"] == "changed"


def test_a_rejection_leaves_all_stopped_and_tells_the_way_back(cluster: FakeCluster) -> None:
    cluster.answers = [REJECTED]
    with pytest.raises(GateRejected, match="bob"):
        zero_metadata("lab")
    assert cluster.block(52) == TOO_NEW
    assert all(h.get("ovirt-ha-agent") == "inactive" for h in cluster.hosts.values())
    note = cluster.world.journal.find(last_run_id(cluster), Kind.RUN, "way_back", Phase.NOTE)
    assert note is not None
    told = "\n".join(note.payload["lines"])
    for wanted in ("stop_services@h1", f"runbook undo {last_run_id(cluster)}", "dd if=/var/lib"):
        assert wanted in told


def test_the_undo_restores_every_byte(cluster: FakeCluster) -> None:
    cluster.answers = [APPROVED, APPROVED]
    zero_metadata("lab")
    run_id = last_run_id(cluster)
    for host in cluster.hosts.values():
        host.run(("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker"))
    restore_metadata("lab", run_id)
    backup = next((cluster.folder / "h2").rglob("*.img"))
    assert cluster.file.read_bytes() == backup.read_bytes()
    assert cluster.block(52) == TOO_NEW
    assert all(h.get("ovirt-ha-agent") == "inactive" for h in cluster.hosts.values())
