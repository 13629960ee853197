"""The steps of the metadata runbooks: each looks first, does its work once, and is proved."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks import backup, maintenance, restore, services, zeroing
from tasks.checks import require_acting_host
from tasks.metadata import Target, Volume
from tasks.recorded import Outcome, Recorded
from tasks.run_site import Site
from tasks.runs import entered_run
from tasks.waiting import TimedOut
from tests.fake_cluster import GARBAGE, TOO_NEW, FakeCluster, fake_cluster
from tests.fake_host import IMAGE, LARGE_BYTES, LINK, SD, SIZE_BYTES, TARGET, VOLUME

NFS = Volume("nfs", SD, IMAGE, VOLUME)
BAD_52 = zeroing.Plan(zeroing.Scope.BAD_ONLY, (52,))
ALL = zeroing.Plan(zeroing.Scope.EVERYTHING, (52,))
ZERO = bytes(4096)
BACKUPS = "/var/lib/backups"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with (
        fake_cluster(tmp_path) as cluster,
        entered_run("metadata-too-new", parameters={"cluster": "lab"}),
    ):
        yield cluster


def site_of(size_bytes: int) -> Site:
    whiteboard = Target(TARGET, "file", size_bytes, (LINK,))
    return require_acting_host.function("lab", whiteboard, None)


def stopped(cluster: FakeCluster, size_bytes: int) -> Site:
    site = site_of(size_bytes)
    for host in cluster.hosts.values():
        host.run(("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker"))
    return site


@pytest.fixture
def site(cluster: FakeCluster) -> Site:
    return site_of(SIZE_BYTES)


@pytest.fixture
def quiet(cluster: FakeCluster) -> Site:
    """Everything stopped."""
    return stopped(cluster, SIZE_BYTES)


def in_a_new_run(task: Recorded[..., Outcome], *arguments: object) -> Outcome:
    """Call a change in a run that has not begun it: it is to look first."""
    with entered_run("metadata-too-new", parameters={"cluster": "lab"}, mutates=False):
        return task.function(*arguments)


def approved(plan: zeroing.Plan, made: backup.Backup) -> zeroing.Plan:
    return replace(plan, sha256=made.sha256)


def sent(cluster: FakeCluster, start: str) -> list[str]:
    return [call for host in cluster.hosts.values() for call in host.calls(start)]


def test_global_maintenance_is_entered_once(cluster: FakeCluster, site: Site) -> None:
    assert maintenance.enter_global_maintenance.function(site) is Outcome.CHANGED
    assert cluster.block(0).startswith(b"maintenance=1")
    before = sent(cluster, "hosted-engine --set")
    assert in_a_new_run(maintenance.enter_global_maintenance, site) is Outcome.ALREADY
    assert sent(cluster, "hosted-engine --set") == before


def test_a_lost_flag_is_set_again(cluster: FakeCluster, site: Site) -> None:
    cluster.hosts["h2"].set("lost", "2")
    assert maintenance.enter_global_maintenance.function(site) is Outcome.CHANGED
    assert len(sent(cluster, "hosted-engine --set-maintenance --mode=global")) == 3


def test_a_flag_that_never_arrives_is_no_success(cluster: FakeCluster, site: Site) -> None:
    cluster.hosts["h2"].set("lost", "99")
    with pytest.raises(TimedOut, match="h1 does not see it in block 0 after 180 s"):
        maintenance.enter_global_maintenance.function(site)


def test_hands_off_only_when_every_live_host_says_so(cluster: FakeCluster, site: Site) -> None:
    maintenance.enter_global_maintenance.function(site)
    cluster.hosts["h3"].state_override = "EngineStarting"
    with pytest.raises(TimedOut, match="host id 3 is in EngineStarting"):
        maintenance.wait_until_hands_off.function(site)
    cluster.hosts["h3"].state_override = None
    assert maintenance.wait_until_hands_off.function(site) == (1, 2, 3)


def test_leaving_maintenance_twice_sends_it_once(cluster: FakeCluster, site: Site) -> None:
    maintenance.enter_global_maintenance.function(site)
    assert maintenance.leave_global_maintenance.function(site) is Outcome.CHANGED
    assert in_a_new_run(maintenance.leave_global_maintenance, site) is Outcome.ALREADY
    assert len(sent(cluster, "hosted-engine --set-maintenance --mode=none")) == 1


def test_services_stop_once(cluster: FakeCluster, site: Site) -> None:
    assert services.stop_services.function(site, "h3") is Outcome.CHANGED
    assert in_a_new_run(services.stop_services, site, "h3") is Outcome.ALREADY
    assert len(sent(cluster, "systemctl stop")) == 1


def test_a_service_that_does_not_stop_is_no_success(cluster: FakeCluster, site: Site) -> None:
    cluster.hosts["h3"].set("unstoppable", "")
    with pytest.raises(services.NotStopped, match="h3: agent active, broker active"):
        services.stop_services.function(site, "h3")


@pytest.mark.parametrize("start", [services.start_canary, services.start_host])
def test_services_start_once(
    cluster: FakeCluster, quiet: Site, start: Recorded[..., Outcome]
) -> None:
    assert start.function(quiet, "h2") is Outcome.CHANGED
    assert cluster.hosts["h2"].calls("systemctl start") == [
        "systemctl start ovirt-ha-broker",
        "systemctl start ovirt-ha-agent",
    ]
    assert in_a_new_run(start, quiet, "h2") is Outcome.ALREADY
    assert len(sent(cluster, "systemctl start")) == 2


def test_stopped_is_proved_by_silence(cluster: FakeCluster, quiet: Site) -> None:
    proof = services.wait_until_stopped.function(quiet)
    assert proof.said_stopped == (1, 2, 3)
    cluster.strangers[9] = 5
    with pytest.raises(TimedOut, match="block 9 changed within 25 s"):
        services.wait_until_stopped.function(quiet)


def test_live_is_a_new_timestamp_in_maintenance(cluster: FakeCluster, quiet: Site) -> None:
    cluster.put(0, b"maintenance=1".ljust(4096, b"\0"))
    with pytest.raises(TimedOut, match="h1 sees no new timestamp of h2"):
        services.wait_until_canary_live.function(quiet, "h2")
    services.start_canary.function(quiet, "h2")
    assert services.wait_until_canary_live.function(quiet, "h2") > 1


def test_the_backup_is_the_volume_and_is_made_once(cluster: FakeCluster, quiet: Site) -> None:
    made = backup.back_up_whiteboard.function(quiet, BACKUPS)
    copy = Path(cluster.hosts["h2"].here(made.path))
    assert copy.read_bytes() == cluster.file.read_bytes()
    assert copy.stat().st_mode & 0o077 == 0
    was = copy.stat().st_mtime_ns
    assert backup.back_up_whiteboard.function(quiet, BACKUPS) == made
    assert copy.stat().st_mtime_ns == was


def test_zeros_only_where_planned_and_only_once(cluster: FakeCluster, quiet: Site) -> None:
    made = backup.back_up_whiteboard.function(quiet, BACKUPS)
    before = cluster.file.read_bytes()
    assert zeroing.write_zeros.function(quiet, approved(BAD_52, made)) is Outcome.CHANGED
    after = cluster.file.read_bytes()
    assert after == before[: 52 * 4096] + ZERO + before[53 * 4096 :]
    zeroing.prove_write.function(quiet, BAD_52, made)
    was = cluster.file.stat().st_mtime_ns
    assert in_a_new_run(zeroing.write_zeros, quiet, BAD_52) is Outcome.ALREADY
    assert cluster.file.stat().st_mtime_ns == was


def test_everything_keeps_the_size(cluster: FakeCluster, quiet: Site) -> None:
    made = backup.back_up_whiteboard.function(quiet, BACKUPS)
    assert zeroing.write_zeros.function(quiet, approved(ALL, made)) is Outcome.CHANGED
    assert cluster.file.read_bytes() == bytes(SIZE_BYTES)
    zeroing.prove_write.function(quiet, ALL, made)
    assert in_a_new_run(zeroing.write_zeros, quiet, ALL) is Outcome.ALREADY


@pytest.mark.parametrize("plan", [BAD_52, ALL])
@pytest.mark.parametrize(
    ("planted", "message"), [(3, "wrong bytes in block 3"), (2040, "other bytes after block 2000")]
)
def test_a_byte_too_many_is_seen(
    tmp_path: Path, plan: zeroing.Plan, planted: int, message: str
) -> None:
    with (
        fake_cluster(tmp_path, size_bytes=LARGE_BYTES) as cluster,
        entered_run("metadata-too-new", parameters={"cluster": "lab"}),
    ):
        quiet = stopped(cluster, LARGE_BYTES)
        made = backup.back_up_whiteboard.function(quiet, BACKUPS)
        zeroing.write_zeros.function(quiet, approved(plan, made))
        zeroing.prove_write.function(quiet, plan, made)
        cluster.put(planted, GARBAGE)
        with pytest.raises(zeroing.WriteWrong, match=message):
            zeroing.prove_write.function(quiet, plan, made)


def test_a_target_that_is_gone_is_never_made(cluster: FakeCluster, quiet: Site) -> None:
    cluster.file.rename(cluster.file.with_name("moved"))
    for script in (zeroing.ZERO_BLOCKS, zeroing.ZERO_ALL):
        argv = zeroing.sh(script, TARGET, "0", "4096", "256", "52")
        assert quiet.shell("h2").run(argv).exit_code == 66
    assert not cluster.file.exists()


def test_the_flag_is_written_again_once(cluster: FakeCluster, quiet: Site) -> None:
    assert zeroing.write_maintenance_flag.function(quiet) is Outcome.CHANGED
    assert cluster.block(0) == b"maintenance=1".ljust(4096, b"\0")
    assert cluster.file.stat().st_size == SIZE_BYTES
    assert in_a_new_run(zeroing.write_maintenance_flag, quiet) is Outcome.ALREADY


def test_the_backup_goes_back_once(cluster: FakeCluster, quiet: Site) -> None:
    made = backup.back_up_whiteboard.function(quiet, BACKUPS)
    before = cluster.file.read_bytes()
    zeroing.write_zeros.function(quiet, approved(ALL, made))
    assert restore.restore_backup.function(quiet, made) is Outcome.CHANGED
    assert cluster.file.read_bytes() == before
    assert in_a_new_run(restore.restore_backup, quiet, made) is Outcome.ALREADY
    restore.prove_restored.function(quiet, made)
    with pytest.raises(backup.ChecksumDiffers):
        restore.prove_restored.function(quiet, replace(made, sha256="0"))


def test_the_commands_shown_are_those_sent(cluster: FakeCluster, quiet: Site) -> None:
    assert BAD_52.commands("/t", SIZE_BYTES) == (
        "dd if=/dev/zero of=/t bs=4096 seek=52 count=1 oflag=direct conv=notrunc,nocreat,fsync",
    )
    assert ALL.commands("/t", SIZE_BYTES) == (
        "dd if=/dev/zero of=/t bs=1048576 count=1 oflag=direct conv=notrunc,nocreat,fsync",
    )
    assert cluster.block(52) == TOO_NEW
