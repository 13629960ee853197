"""The runbook recover-lockspace and its undo, whole, on fake hosts over real files."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.recover_lockspace import recover
from tasks.gates import GateRejected
from tasks.journal import Kind, Phase
from tasks.lockspace_area import ALIGN_BYTES, faults, held
from tasks.lockspace_leave import StillJoined
from tasks.refusal import CheckRefused
from tasks.steps import StepFailed
from tests.fake_cluster import APPROVED, GARBAGE, REJECTED, FakeCluster, fake_cluster
from tests.fake_host import SD, TARGET
from tests.fake_lockspace import (
    FakeLockspace,
    garbage,
    leader,
    torn,
    wrong_name,
    zeros,
)

ID = "recover-lockspace"
BODY = recover.fn.__wrapped__  # type: ignore[attr-defined]
CORRUPTIONS = [zeros, garbage, wrong_name, torn]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as cluster:
        yield cluster


@pytest.fixture
def lockspace(cluster: FakeCluster) -> FakeLockspace:
    return FakeLockspace(cluster)


def last_run_id(cluster: FakeCluster) -> str:
    return cluster.world.journal.runs("lab")[0].run_id


def way_back(cluster: FakeCluster) -> str:
    note = cluster.world.journal.find(last_run_id(cluster), Kind.RUN, "way_back", Phase.NOTE)
    assert note is not None
    return "\n".join(note.payload["lines"])


def services(cluster: FakeCluster) -> set[str]:
    units = ("ovirt-ha-agent", "ovirt-ha-broker")
    return {host.get(unit) for host in cluster.hosts.values() for unit in units}


def gates(cluster: FakeCluster) -> list[str]:
    return [gate for gate, _ in cluster.asked]


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_every_corruption_is_recovered(
    cluster: FakeCluster, lockspace: FakeLockspace, corruption: Callable[[], bytes]
) -> None:
    lockspace.spoil(corruption())
    tail = lockspace.file.read_bytes()[ALIGN_BYTES:]
    cluster.answers = [APPROVED, APPROVED]
    recover.fn("lab")
    assert faults(lockspace.slots()) == {}
    assert list(held(lockspace.slots())) == [1, 2, 3]
    assert lockspace.file.read_bytes()[ALIGN_BYTES:] == tail
    assert services(cluster) == {"active"}
    assert cluster.block(0).startswith(b"maintenance=0")


def test_where_no_agent_writes_a_person_decides_before_anything_is_stopped(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    lockspace.spoil(zeros())
    cluster.answers = [REJECTED]
    with pytest.raises(GateRejected):
        recover.fn("lab")
    assert gates(cluster) == ["approve_stop_first"]
    evidence = cluster.asked[0][1]
    assert "printf maintenance=1 | dd of=/rhev/" in evidence
    assert "systemctl stop ovirt-ha-agent ovirt-ha-broker" in evidence
    assert services(cluster) == {"active"}
    assert way_back(cluster) == "Nothing has been changed."


def test_where_an_agent_still_writes_it_sets_maintenance_and_nobody_is_asked_first(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    lockspace.spoil(bytes(512), 2 * 512)  # only the slot of the third host
    cluster.answers = [APPROVED]
    recover.fn("lab")
    assert gates(cluster) == ["approve_lockspace_write"]
    assert cluster.hosts["h2"].calls("hosted-engine --set-maintenance")
    assert list(held(lockspace.slots())) == [1, 2, 3]


def test_the_gate_shows_what_is_known(cluster: FakeCluster, lockspace: FakeLockspace) -> None:
    lockspace.spoil(zeros())
    cluster.answers = [APPROVED, REJECTED]
    with pytest.raises(GateRejected):
        recover.fn("lab")
    evidence = cluster.asked[-1][1]
    for wanted in ("2000 free host ids", "zeros (-223)", "slots 1-2000", "SHA-256", "h1, h3"):
        assert wanted in evidence, evidence
    assert "sanlock direct init -s" in evidence
    assert lockspace.file.read_bytes()[:ALIGN_BYTES] == zeros()
    told = way_back(cluster)
    assert "systemctl start ovirt-ha-broker" in told
    # Whoever starts the agents by hand first writes the flag, to the whiteboard and nowhere else.
    target = str(TARGET)
    flag = told.index(f"printf maintenance=1 | dd of={target} bs=4096 count=1")
    assert flag < told.index("systemctl start ovirt-ha-broker")
    assert "runbook undo" not in told


def test_a_sound_lockspace_is_not_written(cluster: FakeCluster, lockspace: FakeLockspace) -> None:
    with pytest.raises(CheckRefused, match="nothing to repair: all 2000 slots"):
        recover.fn("lab")
    assert services(cluster) == {"active"}


@pytest.mark.parametrize("own_too", [False, True])
def test_the_domains_own_lockspace_is_refused(
    cluster: FakeCluster, lockspace: FakeLockspace, own_too: bool
) -> None:
    lockspace.put(lockspace.ids, bytes(512), 512)
    if own_too:
        lockspace.spoil(zeros())
    with pytest.raises(CheckRefused, match=f"{SD} .* is broken .*host id 2.*VDSM's"):
        recover.fn("lab")
    assert services(cluster) == {"active"}


def test_a_garbage_block_blocks(cluster: FakeCluster, lockspace: FakeLockspace) -> None:
    lockspace.spoil(zeros())
    cluster.put(77, GARBAGE)
    with pytest.raises(CheckRefused, match="block 77 of the whiteboard.*metadata-too-new first"):
        recover.fn("lab")


def test_a_host_outside_the_inventory_that_renews_stops_the_run(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    lockspace.spoil(bytes(512))
    passed = cluster.passed

    def renew(before: float, after: float) -> None:
        passed(before, after)
        lockspace.spoil(leader("hosted-engine", owner_id=9, owner="h9", timestamp=int(after)), 4096)

    cluster.world.clock.passed = renew  # type: ignore[attr-defined]
    cluster.answers = [APPROVED]
    with pytest.raises(Exception, match=r"somebody writes to /rhev.*: sanlock direct dump '/rhev"):
        recover.fn("lab")


def test_a_lockspace_left_over_is_left(cluster: FakeCluster, lockspace: FakeLockspace) -> None:
    cluster.hosts["h3"].set("stuck", "yes")
    lockspace.spoil(bytes(512), 512)
    cluster.answers = [APPROVED]
    recover.fn("lab")
    assert cluster.hosts["h3"].calls("sanlock client rem_lockspace")
    assert not cluster.hosts["h1"].calls("sanlock client rem_lockspace")


@pytest.mark.parametrize(
    "own",
    [
        r"hosted-engine:3:/rhev/data-center/mnt/srv\:_export_he/sd/ha_agent/x.lockspace:0",
        "hosted-engine:7:/var/run/vdsm/storage/sd/image/volume:0",  # before it was renumbered
        "hosted-engine:3:/run/vdsm/storage/sd/image/volume:1048576 REM",
    ],
)
def test_it_is_left_as_sanlock_itself_lists_it(
    cluster: FakeCluster, lockspace: FakeLockspace, own: str
) -> None:
    cluster.hosts["h3"].set("stuck", "yes")
    cluster.hosts["h3"].set("own", own)
    lockspace.spoil(bytes(512), 512)
    cluster.answers = [APPROVED]
    recover.fn("lab")
    wanted = f"sanlock client rem_lockspace -s {own.removesuffix(' REM')}"
    assert cluster.hosts["h3"].calls("sanlock client rem_lockspace") == [wanted]


def test_a_daemon_that_keeps_the_lockspace_stops_the_run(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    for key in ("stuck", "obstinate"):
        cluster.hosts["h3"].set(key, "yes")
    lockspace.spoil(bytes(512), 512)
    cluster.answers = [APPROVED]
    by_hand = "; on h3: sanlock client rem_lockspace -s hosted-engine:3:/run/vdsm/own:0; then start"
    with pytest.raises(StillJoined, match="h3: sanlock still lists") as stopped:
        recover.fn("lab")
    assert by_hand in str(stopped.value)
    assert faults(lockspace.slots()) == {"zeros (-223)": [2]}


def test_a_change_at_the_gate_stops_the_write(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    lockspace.spoil(bytes(512), 512)
    cluster.answers, cluster.at_gate = [APPROVED], lambda: lockspace.spoil(b"x", 5000)
    with pytest.raises(CheckRefused, match="approved was checksum"):
        recover.fn("lab")


def test_a_failed_write_is_told_with_the_way_back(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    lockspace.spoil(zeros())
    cluster.hosts["h2"].set("init-fails", "yes")
    cluster.answers = [APPROVED, APPROVED]
    with pytest.raises(StepFailed, match="init done -5"):
        recover.fn("lab")
    assert f"runbook undo {last_run_id(cluster)}" in way_back(cluster)
