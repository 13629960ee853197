"""The checks of the metadata runbooks refuse what they must, before anything is changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import checks
from tasks.env import HostKeyRefused
from tasks.metadata import Target, Volume
from tasks.refusal import CheckRefused
from tasks.runs import entered_run
from tests.fake_cluster import GARBAGE, TOO_NEW, FakeCluster, fake_cluster, unreachable
from tests.fake_host import DOMAIN, IMAGE, LINK, SD, SIZE_BYTES, TARGET, VOLUME

NFS = Volume("nfs", SD, IMAGE, VOLUME)
WHITEBOARD = Target(TARGET, "file", SIZE_BYTES, (LINK,))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with (
        fake_cluster(tmp_path) as cluster,
        entered_run("metadata-too-new", parameters={"cluster": "lab"}),
    ):
        yield cluster


@pytest.fixture
def with_host_52(tmp_path: Path) -> Iterator[FakeCluster]:
    with (
        fake_cluster(tmp_path, ids=(1, 2, 52)) as cluster,
        entered_run("metadata-too-new", parameters={"cluster": "lab"}),
    ):
        yield cluster


def find() -> Target:
    return checks.require_one_target.fn("lab", NFS)


def test_all_hosts_ready(cluster: FakeCluster) -> None:
    assert checks.require_hosts_ready.fn("lab") == ("h1", "h2", "h3")


def test_each_host_that_is_not_ready_is_named_with_its_trouble(cluster: FakeCluster) -> None:
    cluster.hosts["h1"].trouble = unreachable("h1")
    cluster.hosts["h2"].trouble = HostKeyRefused("h2: its host key is not the one known")
    (cluster.hosts["h3"].root / "bin/hosted-engine").unlink()
    with pytest.raises(CheckRefused) as refused:
        checks.require_hosts_ready.fn("lab")
    for wanted in ("h1: cannot be reached", "h2: its host key", "h3: has no working"):
        assert wanted in str(refused.value)


def test_a_host_that_is_not_deployed(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].set("undeployed", "1")
    with pytest.raises(CheckRefused, match="h2: `hosted-engine --check-deployed` ended with 1"):
        checks.require_hosts_ready.fn("lab")


def test_one_configuration(cluster: FakeCluster) -> None:
    assert checks.require_one_configuration.fn("lab") == NFS


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f"sdUUID={SD}", "sdUUID=other", "sdUUID differs"),
        (VOLUME, "other", "metadata_volume_UUID differs"),
        ("host_id=2", "host_id=7", "host_id=7, the inventory says 2"),
        ("vmid=vm", "vmid=", "no vmid"),
    ],
)
def test_configurations_that_differ(cluster: FakeCluster, old: str, new: str, message: str) -> None:
    conf = cluster.hosts["h2"].root / "etc/ovirt-hosted-engine/hosted-engine.conf"
    conf.write_text(conf.read_text().replace(old, new))
    with pytest.raises(CheckRefused, match=message):
        checks.require_one_configuration.fn("lab")


def test_a_link_to_a_link_is_followed_to_its_end(cluster: FakeCluster) -> None:
    assert find() == WHITEBOARD


def test_two_links_to_one_target_are_one(cluster: FakeCluster) -> None:
    pool = cluster.folder / "shared/rhev/data-center/pool/mastersd"
    pool.mkdir(parents=True)
    (pool / "hosted-engine.metadata").symlink_to(cluster.file)
    assert find().path == TARGET


def test_two_candidates_are_refused_and_both_listed(cluster: FakeCluster) -> None:
    other = cluster.folder / "shared/rhev/data-center/mnt/old:_he/sd/ha_agent"
    other.mkdir(parents=True)
    (other / "hosted-engine.metadata").write_bytes(bytes(8192))
    with pytest.raises(CheckRefused, match="two candidates") as refused:
        find()
    assert "old:_he" in str(refused.value)
    assert TARGET in str(refused.value)


def test_a_target_that_differs_from_the_configuration(cluster: FakeCluster) -> None:
    with pytest.raises(CheckRefused, match="the configuration names .*/images/other/"):
        checks.require_one_target.fn("lab", Volume("nfs", SD, "other", VOLUME))


def test_a_block_domain_must_lead_to_its_device(cluster: FakeCluster) -> None:
    with pytest.raises(CheckRefused, match=f"the configuration names /dev/{SD}/{VOLUME}"):
        checks.require_one_target.fn("lab", Volume("iscsi", SD, IMAGE, VOLUME))


def test_the_misspelt_name_of_the_howto_is_not_found(cluster: FakeCluster) -> None:
    link = cluster.folder / "shared" / LINK.lstrip("/")
    link.rename(link.with_name("hosted_engine.metadata"))
    with pytest.raises(CheckRefused, match="no hosted-engine.metadata below /rhev"):
        find()


def test_a_link_that_leads_nowhere(cluster: FakeCluster) -> None:
    cluster.file.rename(cluster.file.with_name("moved"))
    with pytest.raises(CheckRefused, match="which is not there.*--connect-storage"):
        find()


@pytest.mark.parametrize("size_bytes", [0, 4096, 10_000])
def test_a_volume_of_a_strange_size(cluster: FakeCluster, size_bytes: int) -> None:
    with cluster.file.open("r+b") as out:
        out.truncate(size_bytes)
    with pytest.raises(CheckRefused, match=f"{size_bytes} bytes"):
        find()


def test_a_directory_in_place_of_the_volume(cluster: FakeCluster) -> None:
    cluster.file.unlink()
    cluster.file.mkdir()
    with pytest.raises(CheckRefused, match="is a directory, not a file or block device"):
        find()


def test_a_plain_file_as_3_4_had_it(cluster: FakeCluster) -> None:
    link = cluster.folder / "shared" / LINK.lstrip("/")
    link.unlink()
    link.write_bytes(bytes(1024 * 1024))
    plain = f"{DOMAIN}/ha_agent/hosted-engine.metadata"
    assert checks.require_one_target.fn("lab", Volume("nfs", SD, "", "")).path == plain


def test_nothing_to_repair(cluster: FakeCluster) -> None:
    cluster.put(52, bytes(4096))
    with pytest.raises(CheckRefused, match="nothing to repair"):
        checks.require_bad_block.fn("lab", WHITEBOARD)


HIDDEN = b"\0 recycled \xff".ljust(4096, b"\0")  # empty to the agents; ends upstream's brokers


@pytest.mark.parametrize("block", [TOO_NEW, GARBAGE, b"x|1".ljust(4096, b"\0"), HIDDEN])
def test_a_bad_block_is_the_symptom(cluster: FakeCluster, block: bytes) -> None:
    cluster.put(52, block)
    rows = checks.require_bad_block.fn("lab", WHITEBOARD)
    assert [row.host_id for row in rows if row.bad] == [52]


def test_what_is_only_hidden_is_not_bad(cluster: FakeCluster) -> None:
    cluster.put(40, b"\0 left over".ljust(4096, b"\0"))
    rows = checks.require_bad_block.fn("lab", WHITEBOARD)
    assert [row.host_id for row in rows] == sorted(row.host_id for row in rows)
    assert 40 not in [row.host_id for row in rows]


def test_known_writers(cluster: FakeCluster) -> None:
    assert checks.require_known_writers.fn("lab", WHITEBOARD) == (1, 2, 3)


def test_a_writer_that_the_inventory_does_not_know(cluster: FakeCluster) -> None:
    cluster.strangers[7] = 100
    with pytest.raises(CheckRefused, match="host id 7 writes .* not in the inventory"):
        checks.require_known_writers.fn("lab", WHITEBOARD)


def test_host_52_alive_and_newer(with_host_52: FakeCluster) -> None:
    host = with_host_52.hosts["h52"]
    host.set("ovirt-ha-agent", "inactive")  # what it writes is put here by hand

    def passed(before: float, after: float) -> None:
        with_host_52.put(52, TOO_NEW.replace(b"|1|52", f"|{after:.0f}|52".encode())[:4096])

    with_host_52.world.clock.passed = passed  # type: ignore[attr-defined]
    with pytest.raises(CheckRefused, match=r"h52 .* newer agent.*finish the upgrade"):
        checks.require_known_writers.fn("lab", WHITEBOARD)


def test_host_52_stopped_but_with_newer_packages(with_host_52: FakeCluster) -> None:
    host = with_host_52.hosts["h52"]
    host.set("ovirt-ha-agent", "inactive")
    host.set("version", "2.6.0-1.el9")
    with_host_52.put(52, TOO_NEW)
    with pytest.raises(CheckRefused, match=r"2\.6\.0-1\.el9, newer than 2\.5\.2 on h1.*upgrade"):
        checks.require_known_writers.fn("lab", WHITEBOARD)
    host.set("version", "unknown")
    with pytest.raises(CheckRefused, match=r"has unknown, newer than 2\.5\.2 on h1"):
        checks.require_known_writers.function("lab", WHITEBOARD)


def test_garbage_in_the_block_of_a_stopped_host_of_the_same_version(
    with_host_52: FakeCluster,
) -> None:
    with_host_52.hosts["h52"].set("ovirt-ha-agent", "inactive")
    with_host_52.put(52, TOO_NEW)
    assert checks.require_known_writers.fn("lab", WHITEBOARD) == (1, 2)


@pytest.mark.parametrize(
    ("older", "newer"),
    [("2.5.2", "2.5.10"), ("2.5.2-1.el8", "2.5.2-2.el8"), ("2.4", "2.4.1"), ("9", "unknown")],
)
def test_versions_are_compared_by_number(older: str, newer: str) -> None:
    assert checks.version_key(older) < checks.version_key(newer)


def test_the_host_that_acts_does_not_run_the_engine(cluster: FakeCluster) -> None:
    site = checks.require_acting_host.fn("lab", WHITEBOARD, None)
    assert (site.actor, site.witness, site.others) == ("h2", "h1", ("h1", "h3"))


def test_the_canary_can_be_chosen(cluster: FakeCluster) -> None:
    assert checks.require_acting_host.fn("lab", WHITEBOARD, "h1").actor == "h1"
    with pytest.raises(CheckRefused, match="no host 'h9' in the inventory"):
        checks.require_acting_host.function("lab", WHITEBOARD, "h9")


def test_a_host_in_local_maintenance_or_without_an_agent_cannot_act(cluster: FakeCluster) -> None:
    conf = cluster.hosts["h2"].root / "var/lib/ovirt-hosted-engine-ha/ha.conf"
    conf.write_text("local_maintenance=False\nlocal_maintenance_manual=True\n")
    cluster.hosts["h3"].set("ovirt-ha-agent", "inactive")
    assert checks.require_acting_host.fn("lab", WHITEBOARD, None).actor == "h1"
    with pytest.raises(CheckRefused, match="h2 has a running agent and is out of"):
        checks.require_acting_host.function("lab", WHITEBOARD, "h2")


def test_a_full_storage_is_refused_before_any_change(cluster: FakeCluster) -> None:
    site = checks.require_acting_host.fn("lab", WHITEBOARD, None)
    cluster.hosts["h2"].set("df", "F 1024-blocks U A C M\n/dev/vda 100000 99000 1000 99% /var")
    with pytest.raises(CheckRefused, match="h2: /var/lib/backups has 1024000 bytes free"):
        checks.require_backup_space.fn(site, "/var/lib/backups")
    assert not (cluster.hosts["h2"].root / "var/lib/backups").exists()
