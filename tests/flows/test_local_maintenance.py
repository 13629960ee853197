"""Local maintenance of one host, whole, on fake hosts whose command has upstream's holes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flows.end_local_maintenance import return_host
from flows.local_maintenance import maintain_host
from tasks.env import use_world
from tasks.maintenance_checks import VM_CONF
from tasks.maintenance_local import MaintenanceNotSet
from tasks.migration import MigrationFailed
from tasks.refusal import CheckRefused
from tasks.waiting import TimedOut
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import add_vm, by_libvirt, engine_on, in_local_maintenance

MIGRATE = (
    "virsh migrate --live --verbose --unsafe HostedEngine qemu+tcp://h2/system tcp://192.0.2.2"
)
GLOBAL = ("hosted-engine", "--set-maintenance", "--mode=global")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as cluster:
        add_vm(cluster)
        with use_world(by_libvirt(cluster)):
            yield cluster


def test_a_host_without_the_vm_leaves_at_once_and_comes_back(cluster: FakeCluster) -> None:
    maintain_host.fn("lab", "h2", True)
    assert (in_local_maintenance(cluster), engine_on(cluster)) == (["h2"], ["h1"])
    return_host.fn("lab", "h2")
    assert in_local_maintenance(cluster) == []


def test_the_vm_is_migrated_first_and_never_down(cluster: FakeCluster) -> None:
    maintain_host.fn("lab", "h1")
    assert (in_local_maintenance(cluster), engine_on(cluster)) == (["h1"], ["h2"])
    h1 = cluster.hosts["h1"]
    assert h1.calls("virsh migrate") == [MIGRATE]
    assert h1.calls("hosted-engine --vm-") == []
    calls = h1.calls()
    local = next(call for call in calls if "--mode=local" in call)
    assert calls.index(MIGRATE) < calls.index(local)


def test_the_vm_goes_to_the_best_score(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].score = 3000
    maintain_host.fn("lab", "h1")
    assert engine_on(cluster) == ["h3"]


def test_a_migration_that_fails_leaves_all_as_it_was(cluster: FakeCluster) -> None:
    cluster.hosts["h1"].set("immovable", "")
    with pytest.raises(MigrationFailed, match="it is still on h1.*operation failed"):
        maintain_host.fn("lab", "h1")
    assert (in_local_maintenance(cluster), engine_on(cluster)) == ([], ["h1"])


def test_a_whiteboard_that_says_otherwise_is_no_success(cluster: FakeCluster) -> None:
    def fall_silent(argv: Sequence[str]) -> None:
        if "migrate" in argv:
            cluster.hosts["h2"].set("ovirt-ha-broker", "inactive")  # its block stays as it is

    cluster.hosts["h1"].before = fall_silent
    with pytest.raises(TimedOut, match="h2 says on the whiteboard that the VM is down"):
        maintain_host.fn("lab", "h1")
    assert in_local_maintenance(cluster) == []


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (lambda host: host.set("ovirt-ha-agent", "inactive"), "its agent is inactive"),
        (lambda host: setattr(host, "score", 0), "its score is 0"),
        (
            lambda host: host.run(("hosted-engine", "--set-maintenance", "--mode=local")),
            "it is in local maintenance",
        ),
        (lambda host: host.set("ovirt-ha-broker", "inactive"), "writes nothing new"),
        (
            lambda host: Path(host.here(VM_CONF)).write_text("memSize=99999999\n"),
            "the engine VM needs 99999999",
        ),
        (lambda host: Path(host.here(VM_CONF)).unlink(), "does not tell its free memory"),
    ],
)
def test_one_host_that_could_take_over_is_too_few(
    cluster: FakeCluster, trouble: object, told: str
) -> None:
    trouble(cluster.hosts["h3"])  # type: ignore[operator]
    with pytest.raises(CheckRefused, match=f"h2 could run the engine VM, and nobody.*{told}"):
        maintain_host.fn("lab", "h1")
    assert engine_on(cluster) == ["h1"]
    maintain_host.fn("lab", "h1", acknowledge_no_failover=True)
    assert engine_on(cluster) == ["h2"]


def test_two_hosts_are_too_few_unless_acknowledged(tmp_path: Path) -> None:
    with fake_cluster(tmp_path, ids=(1, 2), bad={}) as two:
        add_vm(two)
        with use_world(by_libvirt(two)):
            with pytest.raises(CheckRefused, match="acknowledge_no_failover=true"):
                maintain_host.fn("lab", "h1")
            maintain_host.fn("lab", "h1", acknowledge_no_failover=True)
        assert (in_local_maintenance(two), engine_on(two)) == (["h1"], ["h2"])


def test_with_nobody_to_take_the_vm_no_word_helps(cluster: FakeCluster) -> None:
    for name in ("h2", "h3"):
        cluster.hosts[name].score = 0
    cluster.publish()
    with pytest.raises(CheckRefused, match="no other host can take it"):
        maintain_host.fn("lab", "h1", acknowledge_no_failover=True)
    maintain_host.fn("lab", "h2", acknowledge_no_failover=True)
    assert in_local_maintenance(cluster) == ["h2"]


def test_a_host_of_another_cluster_is_refused(cluster: FakeCluster) -> None:
    with pytest.raises(CheckRefused, match="no host 'h9'.*h1, h2, h3"):
        maintain_host.fn("lab", "h9")


def test_global_maintenance_outlives_both_ways(cluster: FakeCluster) -> None:
    cluster.hosts["h3"].run(GLOBAL)
    cluster.world.clock.sleep(20)
    maintain_host.fn("lab", "h2")
    assert in_local_maintenance(cluster) == ["h2"]
    assert cluster.block(0).startswith(b"maintenance=1")
    return_host.fn("lab", "h2")
    assert in_local_maintenance(cluster) == []
    assert cluster.block(0).startswith(b"maintenance=1")
    assert cluster.hosts["h2"].calls("hosted-engine --set-maintenance") == []


def test_the_file_keeps_what_else_it_says(cluster: FakeCluster) -> None:
    cluster.hosts["h3"].run(GLOBAL)
    cluster.world.clock.sleep(20)
    conf = cluster.hosts["h2"].root / "var/lib/ovirt-hosted-engine-ha/ha.conf"
    conf.write_text("# ours\nlocal_maintenance=False\nother=x\n")
    conf.chmod(0o640)
    maintain_host.fn("lab", "h2")
    wanted = "# ours\nother=x\nlocal_maintenance=True\nlocal_maintenance_manual=True\n"
    assert conf.read_text() == wanted
    assert conf.stat().st_mode & 0o7777 == 0o640


def test_a_command_that_lies_is_noticed(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].set("deaf", "")
    with pytest.raises(MaintenanceNotSet, match="does not say local_maintenance=True"):
        maintain_host.fn("lab", "h2")


def test_a_host_that_does_not_come_back_is_told(cluster: FakeCluster) -> None:
    maintain_host.fn("lab", "h2")
    cluster.hosts["h2"].set("ovirt-ha-agent", "inactive")
    with pytest.raises(TimedOut, match="the agent of h2 is inactive: start"):
        return_host.fn("lab", "h2")


def test_a_parked_agent_counts_as_out_of_service(cluster: FakeCluster) -> None:
    host = cluster.hosts["h2"]
    host.run(("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker"))
    maintain_host.fn("lab", "h2", True)
    assert in_local_maintenance(cluster) == ["h2"]
