"""metadata-too-new at its worst: all garbage, dead brokers, a run cut off, a backup gone."""

import gzip
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flows.restore_metadata import restore_metadata
from flows.zero_metadata import zero_metadata
from tasks.journal import Kind, Phase
from tasks.refusal import CheckRefused
from tasks.runs import entered_run
from tasks.steps import StepFailed
from tests.fake_cluster import APPROVED, GARBAGE, TOO_NEW, FakeCluster, fake_cluster
from tests.fake_host import LARGE_BYTES

ID = "metadata-too-new"
BODY = zero_metadata.fn.__wrapped__  # type: ignore[attr-defined]
ZERO = bytes(4096)
EVERYTHING = {**APPROVED, "scope": "everything, as the Howto says"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path) as cluster:
        yield cluster


def last_run_id(cluster: FakeCluster) -> str:
    return cluster.world.journal.runs("lab")[0].run_id


def services(cluster: FakeCluster) -> set[str]:
    units = ("ovirt-ha-agent", "ovirt-ha-broker")
    return {host.get(unit) for host in cluster.hosts.values() for unit in units}


def test_a_whole_file_of_garbage_while_the_agents_go_on(tmp_path: Path) -> None:
    everything = dict.fromkeys(range(256), GARBAGE)
    with fake_cluster(tmp_path, bad=everything) as cluster:
        cluster.answers = [APPROVED]
        zero_metadata.fn("lab")
        assert {cluster.block(n) for n in range(4, 256)} == {ZERO}
        assert cluster.block(0) == b"maintenance=0".ljust(4096, b"\0")
        assert services(cluster) == {"active"}
        [(_, evidence)] = cluster.asked
        assert "**0, 4-255**" in evidence or "**4-255**" in evidence
        assert len(evidence) < 30_000


def test_where_garbage_has_ended_all_brokers_a_person_lets_it_stop_first(tmp_path: Path) -> None:
    """As upstream's: its broker ends itself over one byte that is not UTF-8."""
    everything = dict.fromkeys(range(256), GARBAGE)
    with fake_cluster(tmp_path, bad=everything) as cluster:
        for host in cluster.hosts.values():
            host.set("ovirt-ha-broker", "failed")
            host.set("ovirt-ha-agent", "activating")
        cluster.answers = [APPROVED, APPROVED]
        zero_metadata.fn("lab")
        assert [gate for gate, _ in cluster.asked] == ["approve_stop_first", "approve_write"]
        assert "agent activating, broker failed" in cluster.asked[0][1]
        assert not [c for h in cluster.hosts.values() for c in h.calls() if "mode=global" in c]
        assert {cluster.block(n) for n in range(4, 256)} == {ZERO}
        assert cluster.block(0).startswith(b"maintenance=0")
        assert services(cluster) == {"active"}


def test_a_run_that_died_after_its_write_is_finished_by_the_next(cluster: FakeCluster) -> None:
    cluster.answers = [APPROVED]
    died = cluster.world.journal

    def die(argv: Sequence[str]) -> None:
        if died.find("r1", Kind.CHANGE, "write_maintenance_flag", Phase.INTENT):
            raise StepFailed("h2: the disk of the host is full")

    for host in cluster.hosts.values():
        host.before = die
    with pytest.raises(StepFailed), entered_run(ID, parameters={"cluster": "lab"}, run_id="r1"):
        BODY("lab")
    for host in cluster.hosts.values():
        host.before = lambda argv: None
    cluster.put(0, ZERO)
    assert services(cluster) == {"inactive"}
    cluster.answers = [APPROVED, APPROVED]
    zero_metadata.fn("lab")
    assert "none, an earlier run has done it" in cluster.asked[-1][1]
    assert services(cluster) == {"active"}
    assert cluster.block(0).startswith(b"maintenance=0")
    with pytest.raises(CheckRefused, match="nothing to repair"):
        zero_metadata.fn("lab")


def test_after_a_restore_there_is_nothing_to_finish(cluster: FakeCluster) -> None:
    cluster.answers = [APPROVED, APPROVED]
    zero_metadata.fn("lab")
    for host in cluster.hosts.values():
        host.run(("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker"))
    restore_metadata.fn("lab", last_run_id(cluster))
    cluster.put(52, ZERO)
    with pytest.raises(CheckRefused, match="nothing to repair"):
        zero_metadata.fn("lab")


def stopped_after_a_write(cluster: FakeCluster, answers: list[dict[str, str]]) -> Path:
    """Run the runbook, stop all services, and return the control node's copy of the backup."""
    cluster.answers = [*answers, APPROVED]
    zero_metadata.fn("lab")
    for host in cluster.hosts.values():
        host.run(("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker"))
    [copy] = (cluster.folder / "control-node").rglob("*.gz")
    assert copy.stat().st_mode & 0o777 == 0o600
    return copy


@pytest.mark.parametrize("loss", ["gone", "damaged"])
def test_the_undo_takes_the_control_nodes_copy(cluster: FakeCluster, loss: str) -> None:
    stopped_after_a_write(cluster, [EVERYTHING])
    backup = next((cluster.folder / "h2").rglob("*.img"))
    was = backup.read_bytes()
    if loss == "gone":
        backup.unlink()
    else:
        backup.write_bytes(b"oops")
    restore_metadata.fn("lab", last_run_id(cluster))
    assert cluster.file.read_bytes() == was
    assert cluster.block(52) == TOO_NEW
    assert "range.img" in cluster.asked[-1][1]


def test_a_copy_of_a_large_volume_of_garbage_comes_in_pieces(tmp_path: Path) -> None:
    everything = {n: os.urandom(4096) for n in range(4, 2001)}
    with fake_cluster(tmp_path, bad=everything, size_bytes=LARGE_BYTES) as cluster:
        copy = stopped_after_a_write(cluster, [APPROVED])
        assert copy.stat().st_size > 8_000_000
        was = next((cluster.folder / "h2").rglob("*.img"))
        expected = was.read_bytes()
        was.unlink()
        restore_metadata.fn("lab", last_run_id(cluster))
        assert cluster.file.read_bytes() == expected


def test_the_undo_refuses_when_the_copy_is_damaged_too(cluster: FakeCluster) -> None:
    copy = stopped_after_a_write(cluster, [APPROVED])
    next((cluster.folder / "h2").rglob("*.img")).unlink()
    copy.write_bytes(gzip.compress(b"another"))
    with pytest.raises(CheckRefused, match=r"has checksum none.*not the one recorded"):
        restore_metadata.fn("lab", last_run_id(cluster))
