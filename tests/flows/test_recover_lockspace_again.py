"""recover-lockspace killed, retried, undone and planned, on fake hosts over real files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flows.recover_lockspace import recover
from flows.restore_lockspace import restore_lockspace
from runbooks.catalogue import catalogue
from tasks.env import HostUnreachable
from tasks.journal import Kind, Phase
from tasks.lockspace_area import ALIGN_BYTES, faults, held
from tasks.plan_run import make_plan
from tasks.refusal import CheckRefused
from tasks.runs import entered_run
from tests.fake_cluster import APPROVED, FakeCluster, fake_cluster
from tests.fake_lockspace import SIZE_BYTES, FakeLockspace, garbage, torn, zeros

ID = "recover-lockspace"
BODY = recover.fn.__wrapped__  # type: ignore[attr-defined]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as cluster:
        yield cluster


@pytest.fixture
def lockspace(cluster: FakeCluster) -> FakeLockspace:
    return FakeLockspace(cluster)


def last_run_id(cluster: FakeCluster) -> str:
    return cluster.world.journal.runs("lab")[0].run_id


def services(cluster: FakeCluster) -> set[str]:
    units = ("ovirt-ha-agent", "ovirt-ha-broker")
    return {host.get(unit) for host in cluster.hosts.values() for unit in units}


def gates(cluster: FakeCluster) -> list[str]:
    return [gate for gate, _ in cluster.asked]


def stop_all(cluster: FakeCluster) -> None:
    for host in cluster.hosts.values():
        host.run(("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker"))


class Killed(BaseException):
    """Stands for kill -9: nothing of the run's own handles it."""


@pytest.mark.parametrize(
    ("task", "nth"),
    [
        ("leave_lockspace", 1),
        ("write_maintenance_flag", 4),
        ("back_up_lockspace", 3),
        ("initialise_lockspace", 0),
        ("initialise_lockspace", 8),
        ("initialise_lockspace", 9),
        ("wait_until_ids_held", 0),
    ],
)
def test_a_killed_run_continues_and_writes_once(
    cluster: FakeCluster, lockspace: FakeLockspace, task: str, nth: int
) -> None:
    journal = cluster.world.journal
    since: list[Sequence[str]] = []
    lockspace.spoil(garbage())
    cluster.hosts["h3"].set("stuck", "yes")

    def kill(argv: Sequence[str]) -> None:
        begun = [e for e in journal.entries("r1") if e.step.split("@")[0] == task]
        since.extend([argv] if begun else [])
        if begun and len(since) == nth + 1:
            raise Killed

    for host in cluster.hosts.values():
        host.before = kill
    cluster.answers = [APPROVED, APPROVED]
    with pytest.raises(Killed), entered_run(ID, parameters={"cluster": "lab"}, run_id="r1"):
        BODY("lab")
    with entered_run(ID, parameters={"cluster": "lab"}, run_id="r1"):
        BODY("lab")
    assert gates(cluster) == ["approve_stop_first", "approve_lockspace_write"]
    assert list(held(lockspace.slots())) == [1, 2, 3]
    assert services(cluster) == {"active"}
    assert len([c for h in cluster.hosts.values() for c in h.calls("sanlock direct init")]) == 1


def test_a_retry_on_another_day_looks_again_before_it_writes(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    journal = cluster.world.journal

    def lose(argv: Sequence[str]) -> None:
        if journal.find("r1", Kind.REMOTE, "initialise_lockspace@h2", Phase.INTENT):
            raise HostUnreachable("h2")

    cluster.hosts["h2"].before = lose
    lockspace.spoil(zeros())
    cluster.answers = [APPROVED, APPROVED]
    with (
        pytest.raises(HostUnreachable),
        entered_run(ID, parameters={"cluster": "lab"}, run_id="r1"),
    ):
        BODY("lab")
    for host in cluster.hosts.values():
        host.before = lambda argv: None
        host.run(("systemctl", "start", "ovirt-ha-broker", "ovirt-ha-agent"))
    with (
        pytest.raises(CheckRefused, match="agent active"),
        entered_run(ID, parameters={"cluster": "lab"}, run_id="r1"),
    ):
        BODY("lab")
    assert lockspace.file.read_bytes()[:ALIGN_BYTES] == zeros()


def test_the_undo_restores_every_byte(cluster: FakeCluster, lockspace: FakeLockspace) -> None:
    was = torn()
    lockspace.spoil(was)
    before = lockspace.file.read_bytes()[ALIGN_BYTES:]
    cluster.answers = [APPROVED, APPROVED]
    recover.fn("lab")
    run_id = last_run_id(cluster)
    stop_all(cluster)
    lockspace.publish()
    backup = next(cluster.folder.rglob("*.img")).read_bytes()
    restore_lockspace.fn("lab", run_id)
    now = lockspace.file.read_bytes()
    assert now == backup
    assert (len(now), now[ALIGN_BYTES:]) == (SIZE_BYTES, before)
    assert "wrong checksum (-229)" in faults(lockspace.slots())
    assert services(cluster) == {"inactive"}


def test_the_undo_refuses_while_a_host_is_in_the_lockspace(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    lockspace.spoil(zeros())
    cluster.answers = [APPROVED, APPROVED]
    recover.fn("lab")
    cluster.hosts["h1"].set("stuck", "yes")
    stop_all(cluster)
    with pytest.raises(CheckRefused, match="sanlock lists hosted-engine on h1"):
        restore_lockspace.fn("lab", last_run_id(cluster))
    assert faults(lockspace.slots()) == {}


def test_the_plan_names_every_command_and_changes_nothing(
    cluster: FakeCluster, lockspace: FakeLockspace
) -> None:
    lockspace.spoil(garbage())
    before = lockspace.file.read_bytes()
    plan = make_plan(catalogue()[ID], recover.fn, {"cluster": "lab"})
    assert plan.findings == ()
    steps = [command.step for command in plan.commands]
    for wanted in ("stop_services", "back_up_lockspace", "initialise_lockspace", "start_host"):
        assert wanted in steps
    assert [part.task for part in plan.parts if part.kind == "gate"] == [
        "approve_stop_first",
        "approve_lockspace_write",
    ]
    assert lockspace.file.read_bytes() == before
    assert services(cluster) == {"active"}
