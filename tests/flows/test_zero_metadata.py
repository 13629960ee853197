"""The runbook metadata-too-new and its undo, whole, on fake hosts over a real file."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect.testing.utilities import prefect_test_harness

from flows.restore_metadata import restore_metadata
from flows.zero_metadata import zero_metadata
from tasks.env import HostUnreachable
from tasks.gates import GateRejected
from tasks.journal import Kind, Phase
from tasks.refusal import CheckRefused
from tasks.runs import entered_run
from tests.fake_cluster import (
    APPROVED,
    GARBAGE,
    REJECTED,
    TOO_NEW,
    FakeCluster,
    fake_cluster,
    unreachable,
)

ID = "metadata-too-new"
# The procedure itself, below the decorator that makes a run of it: the tests of kill -9 open the
# same run twice.
BODY = zero_metadata.fn.__wrapped__  # type: ignore[attr-defined]
ZERO = bytes(4096)
EVERYTHING = {**APPROVED, "scope": "everything, as the Howto says"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path) as cluster:
        yield cluster


def last_run_id(cluster: FakeCluster) -> str:
    return cluster.world.journal.runs("lab")[0].run_id


def way_back(cluster: FakeCluster) -> str:
    note = cluster.world.journal.find(last_run_id(cluster), Kind.RUN, "way_back", Phase.NOTE)
    assert note is not None
    return "\n".join(note.payload["lines"])


def services(cluster: FakeCluster) -> set[str]:
    units = ("ovirt-ha-agent", "ovirt-ha-broker")
    return {host.get(unit) for host in cluster.hosts.values() for unit in units}


@pytest.mark.slow
def test_in_prefect_the_block_is_zeroed_and_the_artifacts_are_there(cluster: FakeCluster) -> None:
    cluster.answers = [APPROVED]
    with prefect_test_harness(server_startup_timeout=120):
        zero_metadata("lab")
        with get_client(sync_client=True) as client:
            keys = {each.key for each in client.read_artifacts(artifact_filter=ArtifactFilter())}
    assert keys >= {"cluster-before", "cluster-after", "block-table", "timeline"}
    assert cluster.block(52) == ZERO


def test_only_the_bad_block_is_zeroed_and_the_cluster_works_again(cluster: FakeCluster) -> None:
    before = cluster.file.read_bytes()
    cluster.answers = [APPROVED]
    zero_metadata.fn("lab")
    after = cluster.file.read_bytes()
    assert cluster.block(52) == ZERO
    assert cluster.block(0).startswith(b"maintenance=0")
    assert len(after) == len(before)
    assert after[53 * 4096 :] == before[53 * 4096 :]
    assert services(cluster) == {"active"}
    [(gate, evidence)] = cluster.asked
    assert gate == "approve_write"
    for wanted in ("**52**", "seek=52 count=1", "SHA-256", "h1", "h2", "h3", "1048576 bytes"):
        assert wanted in evidence


def test_everything_is_zeroed_when_asked_and_maintenance_is_kept(cluster: FakeCluster) -> None:
    cluster.answers = [EVERYTHING]
    zero_metadata.fn("lab")
    tail = cluster.file.read_bytes()[4 * 4096 :]
    assert tail == bytes(len(tail))
    wrote = cluster.world.journal.find(
        last_run_id(cluster), Kind.CHANGE, "write_maintenance_flag", Phase.OUTCOME
    )
    assert wrote is not None
    assert wrote.payload["value"] == "changed"


def test_a_bad_block_0_is_repaired_too(tmp_path: Path) -> None:
    with fake_cluster(tmp_path, bad={0: GARBAGE, 9: GARBAGE}) as cluster:
        cluster.answers = [APPROVED]
        zero_metadata.fn("lab")
        assert cluster.block(9) == ZERO
        assert cluster.block(0) == b"maintenance=0".ljust(4096, b"\0")


def test_one_host_alone_can_be_repaired(tmp_path: Path) -> None:
    with fake_cluster(tmp_path, ids=(1,)) as cluster:
        cluster.answers = [APPROVED]
        zero_metadata.fn("lab")
        assert cluster.block(52) == ZERO


def test_a_rejection_leaves_all_stopped_and_tells_the_way_back(cluster: FakeCluster) -> None:
    cluster.answers = [REJECTED]
    with pytest.raises(GateRejected, match="bob"):
        zero_metadata.fn("lab")
    assert cluster.block(52) == TOO_NEW
    assert services(cluster) == {"inactive"}
    told = way_back(cluster)
    assert "stop_services@h1" in told
    assert "systemctl start ovirt-ha-broker" in told
    # Nothing was written, so there is nothing to write back.
    assert "runbook undo" not in told
    assert "dd if=" not in told


def test_a_refusal_changes_nothing_and_says_so(cluster: FakeCluster) -> None:
    cluster.hosts["h3"].trouble = unreachable("h3")
    with pytest.raises(CheckRefused, match="h3: cannot be reached"):
        zero_metadata.fn("lab")
    assert way_back(cluster) == "Nothing has been changed."
    assert services(cluster) == {"active"}
    assert cluster.asked == []


def test_a_host_that_starts_again_at_the_gate_stops_the_write(cluster: FakeCluster) -> None:
    def somebody_starts() -> None:
        cluster.hosts["h3"].run(("systemctl", "start", "ovirt-ha-broker", "ovirt-ha-agent"))

    cluster.answers, cluster.at_gate = [APPROVED], somebody_starts
    with pytest.raises(CheckRefused, match="h3: agent active"):
        zero_metadata.fn("lab")
    assert cluster.block(52) == TOO_NEW


def test_a_write_at_the_gate_stops_the_run(cluster: FakeCluster) -> None:
    cluster.answers, cluster.at_gate = [APPROVED], lambda: cluster.put(200, GARBAGE)
    with pytest.raises(CheckRefused, match="approved was checksum"):
        zero_metadata.fn("lab")
    assert cluster.block(52) == TOO_NEW


class Killed(BaseException):
    """Stands for kill -9: nothing of the run's own handles it."""


@pytest.mark.parametrize(
    ("task", "nth"),
    [
        ("enter_global_maintenance", 2),
        ("write_zeros", 0),
        ("write_zeros", 5),
        ("write_zeros", 6),
        ("start_canary", 3),
        ("read_final_status", 1),
    ],
)
def test_a_killed_run_continues_and_writes_once(cluster: FakeCluster, task: str, nth: int) -> None:
    journal = cluster.world.journal
    since: list[Sequence[str]] = []

    def kill(argv: Sequence[str]) -> None:
        begun = [e for e in journal.entries("r1") if e.step.split("@")[0] == task]
        since.extend([argv] if begun else [])
        if begun and len(since) == nth + 1:
            raise Killed

    for host in cluster.hosts.values():
        host.before = kill
    cluster.answers = [APPROVED]
    with pytest.raises(Killed), entered_run(ID, parameters={"cluster": "lab"}, run_id="r1"):
        BODY("lab")
    with entered_run(ID, parameters={"cluster": "lab"}, run_id="r1"):
        BODY("lab")
    assert [gate for gate, _ in cluster.asked] == ["approve_write"]
    assert cluster.block(52) == ZERO
    assert services(cluster) == {"active"}
    writes = [e for e in journal.entries("r1") if e.step == "write_zeros@h2"]
    assert [e.payload["exit_code"] for e in writes if e.phase is Phase.OUTCOME] == [0]


def test_a_retry_on_another_day_looks_again_before_it_writes(cluster: FakeCluster) -> None:
    journal = cluster.world.journal

    def lose(argv: Sequence[str]) -> None:
        if journal.find("r1", Kind.REMOTE, "write_zeros@h2", Phase.INTENT):
            raise unreachable("h2")

    cluster.hosts["h2"].before = lose
    cluster.answers = [EVERYTHING]
    run = {"parameters": {"cluster": "lab"}, "run_id": "r1"}
    with pytest.raises(HostUnreachable), entered_run(ID, **run):
        BODY("lab")
    for host in cluster.hosts.values():
        host.before = lambda argv: None
        host.run(("systemctl", "start", "ovirt-ha-broker", "ovirt-ha-agent"))
    before = cluster.file.read_bytes()
    with pytest.raises(CheckRefused, match="agent active"), entered_run(ID, **run):
        BODY("lab")
    assert cluster.file.read_bytes() == before


def test_the_undo_restores_every_byte(cluster: FakeCluster) -> None:
    cluster.answers = [EVERYTHING, APPROVED]
    zero_metadata.fn("lab")
    run_id = last_run_id(cluster)
    for host in cluster.hosts.values():
        host.run(("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker"))
    (backup,) = (cluster.folder / "h2").rglob("*.img")  # before the undo makes one of its own
    restore_metadata.fn("lab", run_id)
    assert cluster.file.read_bytes() == backup.read_bytes()
    assert cluster.block(52) == TOO_NEW
    assert services(cluster) == {"inactive"}


def test_the_undo_refuses_while_an_agent_runs(cluster: FakeCluster) -> None:
    cluster.answers = [APPROVED]
    zero_metadata.fn("lab")
    with pytest.raises(CheckRefused, match="agent active"):
        restore_metadata.fn("lab", last_run_id(cluster))
    assert cluster.block(52) == ZERO


def test_the_undo_refuses_a_damaged_backup(cluster: FakeCluster) -> None:
    cluster.answers = [REJECTED]
    with pytest.raises(GateRejected):
        zero_metadata.fn("lab")
    with next((cluster.folder / "h2").rglob("*.img")).open("r+b") as backup:
        backup.write(b"oops")
    shutil.rmtree(cluster.folder / "control-node")
    with pytest.raises(CheckRefused, match="has checksum"):
        restore_metadata.fn("lab", last_run_id(cluster))


def test_the_undo_refuses_an_unknown_run(cluster: FakeCluster) -> None:
    with pytest.raises(CheckRefused, match="has no run nope"):
        restore_metadata.fn("lab", "nope")
