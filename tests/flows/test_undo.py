"""The undo of a repair: with hosts that are off, old backups, and what it overwrites kept."""

import hashlib
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.recover_lockspace import recover
from flows.restore_lockspace import restore_lockspace
from flows.restore_metadata import restore_metadata
from flows.zero_metadata import zero_metadata
from runbooks.catalogue import catalogue
from tasks.gates import GateRejected
from tasks.refusal import CheckRefused
from tasks.way_back import way_back_lines
from tests.fake_cluster import APPROVED, REJECTED, TOO_NEW, FakeCluster, fake_cluster, unreachable
from tests.fake_lockspace import FakeLockspace, zeros
from tests.flows.test_powered_off import ALIVE, ATTESTED, DEAD, say

ZERO = bytes(4096)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def lockspace(cluster: FakeCluster) -> FakeLockspace:
    return FakeLockspace(cluster)


def last_run(cluster: FakeCluster) -> str:
    return cluster.world.journal.runs("lab")[0].run_id


def stop_all(cluster: FakeCluster) -> None:
    for host in cluster.hosts.values():
        if host.trouble is None:
            host.run(("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker"))
    cluster.publish()


def switch_off(cluster: FakeCluster) -> None:
    off = cluster.hosts["h3"]
    for unit in ("ovirt-ha-agent", "ovirt-ha-broker"):
        off.set(unit, "inactive")
    off.trouble = unreachable("h3")
    say(cluster, DEAD)


def zeroed(cluster: FakeCluster) -> str:
    cluster.answers = [APPROVED]
    zero_metadata.fn("lab")
    stop_all(cluster)
    return last_run(cluster)


def test_metadata_is_restored_without_a_host_that_is_off(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    switch_off(cluster)
    cluster.answers = [ATTESTED, APPROVED]
    zero_metadata.fn("lab", powered_off="h3")
    stop_all(cluster)
    cluster.answers = [ATTESTED, APPROVED]
    restore_metadata.fn("lab", last_run(cluster), powered_off="h3")
    assert cluster.block(52) == TOO_NEW
    assert [gate for gate, _ in cluster.asked[-2:]] == ["approve_powered_off", "approve_restore"]


def test_the_lockspace_is_restored_without_a_host_that_is_off(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    switch_off(cluster)
    cluster.put(52, ZERO)
    lockspace.spoil(zeros())
    cluster.answers = [ATTESTED, APPROVED, APPROVED]
    recover.fn("lab", powered_off="h3")
    stop_all(cluster)
    cluster.answers = [ATTESTED, APPROVED]
    restore_lockspace.fn("lab", last_run(cluster), powered_off="h3")
    assert cluster.asked[-1][0] == "approve_lockspace_restore"


def test_a_host_that_came_back_while_a_gate_waited_is_noticed(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    switch_off(cluster)
    cluster.answers = [ATTESTED, APPROVED]

    def came_back() -> None:
        if cluster.asked[-1][0] == "approve_write":
            say(cluster, ALIVE)

    cluster.at_gate = came_back
    with pytest.raises(CheckRefused, match="has seen h3 alive within the last 140 s"):
        zero_metadata.fn("lab", powered_off="h3")
    assert cluster.block(52) == TOO_NEW


def test_so_it_is_where_the_lockspace_is_to_be_written(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    switch_off(cluster)
    cluster.put(52, ZERO)
    lockspace.spoil(zeros())
    before = lockspace.file.read_bytes()
    cluster.answers = [ATTESTED, APPROVED, APPROVED]

    def came_back() -> None:
        if cluster.asked[-1][0] == "approve_lockspace_write":
            cluster.hosts["h3"].trouble = None

    cluster.at_gate = came_back
    with pytest.raises(CheckRefused, match="h3 answers"):
        recover.fn("lab", powered_off="h3")
    assert lockspace.file.read_bytes() == before


def test_the_newer_block_of_a_host_that_is_off_is_not_zeroed(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    switch_off(cluster)
    newer = b"2|2|1|3|0|x|h".ljust(4096, b"\0")
    cluster.put(3, newer)
    cluster.answers = [ATTESTED, APPROVED]
    with pytest.raises(CheckRefused, match=r"h3 \(host id 3\) is said to be off, and its block"):
        zero_metadata.fn("lab", powered_off="h3")
    assert cluster.asked == []
    assert cluster.block(3) == newer


def test_what_is_overwritten_is_kept_and_its_own_undo_brings_it_back(cluster: FakeCluster) -> None:
    run_id = zeroed(cluster)
    before = cluster.file.read_bytes()
    cluster.answers = [APPROVED]
    restore_metadata.fn("lab", run_id)
    assert cluster.block(52) == TOO_NEW
    undone = last_run(cluster)
    sha256 = hashlib.sha256(before).hexdigest()
    assert f"SHA-256 `{sha256}`" in cluster.asked[-1][1]
    cluster.answers = [APPROVED]
    restore_metadata.fn("lab", undone)
    assert cluster.file.read_bytes() == before
    assert catalogue()["restore-metadata"].undo == "restore-metadata"


def test_the_gate_shows_the_age_and_what_was_written_since(cluster: FakeCluster) -> None:
    first = zeroed(cluster)
    cluster.world.clock.sleep(2 * 86400 + 3 * 3600)
    for host in cluster.hosts.values():
        host.run(("systemctl", "start", "ovirt-ha-broker", "ovirt-ha-agent"))
    cluster.put(52, TOO_NEW)
    for _ in range(3):
        cluster.publish()
    second = zeroed(cluster)
    cluster.answers = [REJECTED]
    with pytest.raises(GateRejected):
        restore_metadata.fn("lab", first)
    evidence = cluster.asked[-1][1]
    assert "ago**" in evidence
    assert f"by run {first} (metadata-too-new)" in evidence
    assert f"by run {second} (metadata-too-new); that is lost" in evidence


def test_a_run_that_wrote_nothing_is_said_to_have_written_nothing(cluster: FakeCluster) -> None:
    cluster.answers = [REJECTED]
    with pytest.raises(GateRejected):
        zero_metadata.fn("lab")
    cluster.answers = [REJECTED]
    with pytest.raises(GateRejected):
        restore_metadata.fn("lab", last_run(cluster))
    assert "that run began no write" in cluster.asked[-1][1]


def test_who_writes_while_the_gate_waits_is_noticed(cluster: FakeCluster) -> None:
    run_id = zeroed(cluster)
    cluster.answers = [APPROVED]
    cluster.at_gate = lambda: cluster.put(7, TOO_NEW)
    with pytest.raises(CheckRefused, match="find out who wrote"):
        restore_metadata.fn("lab", run_id)
    assert cluster.block(7) == TOO_NEW


def test_the_printed_way_back_is_of_the_backup_that_was_fetched(cluster: FakeCluster) -> None:
    run_id = zeroed(cluster)
    damaged = next((cluster.folder / "h2").rglob("*.img"))
    with damaged.open("r+b") as backup:
        backup.write(b"oops")
    cluster.answers = [APPROVED]
    restore_metadata.fn("lab", run_id)
    lines = list(
        way_back_lines(cluster.world.journal, last_run(cluster), catalogue()["restore-metadata"])
    )
    [dd] = [line for line in lines if "&& dd if=" in line]
    assert f"if={cluster_path(damaged, cluster)}" not in dd
    assert ".range.img" in dd
    command = dd[dd.index("echo ") : dd.index(" && dd")]
    ran = cluster.hosts["h2"].run(
        ("sh", "-c", command.replace("/var/lib", f"{cluster.folder}/h2/var/lib"))
    )
    assert ran.exit_code == 0, ran.stderr
    assert shlex.split(command)[1].endswith(".range.img")


def cluster_path(path: Path, cluster: FakeCluster) -> str:
    return str(path).removeprefix(f"{cluster.folder}/h2")
