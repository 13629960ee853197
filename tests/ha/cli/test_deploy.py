"""`--deploy` on a directory as storage: what it makes, what it refuses, what a failure leaves."""

import tarfile
from pathlib import Path

import pytest

from ha.config_files import read_hosted_engine_conf
from ha.env.ports import HostIdTaken, LockspaceFailed
from ha.services import ServicesFailed
from ha.storage_domain import StorageDomain, storage_domain_of
from tests.ha.cli.sim import SimHost

MOUNT = "rhev/data-center/mnt/server:_a__b_shared"


def start(host: SimHost, host_id: int) -> None:
    """Let the agent publish its first record as soon as it is started."""

    def publish(unit: str) -> None:
        if unit == "ovirt-ha-agent":
            host.whiteboard.blocks[host_id] = b"1".ljust(4096, b"\0")

    host.services.on_enable = publish


def deploy(host: SimHost, *arguments: str) -> int:
    return host.run("--deploy", f"--config-append={host.root}/answers", *arguments)


def domain_of(host: SimHost) -> StorageDomain:
    conf = read_hosted_engine_conf(host.paths.hosted_engine_conf)
    return storage_domain_of(conf.values, host.root)


@pytest.fixture
def first(bare: SimHost) -> SimHost:
    start(bare, 1)
    assert deploy(bare) == 0, bare.complained
    return bare


@pytest.fixture
def second(first: SimHost, tmp_path_factory: pytest.TempPathFactory) -> SimHost:
    """Another host, with the first one's storage."""
    root = tmp_path_factory.mktemp("h2")
    host = SimHost(root, name="h2", whiteboard=first.whiteboard)
    (root / MOUNT).parent.mkdir(parents=True)
    (root / MOUNT).symlink_to(first.root / MOUNT)
    answers = (first.root / "answers").read_text()
    host.write(root / "answers", answers + "OVEHOSTED_STORAGE/hostID=int:2\n")
    start(host, 2)
    return host


def test_first_host(first: SimHost) -> None:
    conf = read_hosted_engine_conf(first.paths.hosted_engine_conf)
    assert conf.host_id == 1
    assert conf.conf_on_shared_storage
    assert first.services.enabled == ["ovirt-ha-broker", "ovirt-ha-agent"]
    domain = domain_of(first)
    assert domain.directory.parent == first.root / MOUNT
    names = {place.name for place in (domain.directory / "dom_md").iterdir()}
    assert names == {"metadata", "ids", "leases", "inbox", "outbox"}
    for name in ("metadata", "lockspace"):
        link = domain.ha_agent / f"hosted-engine.{name}"
        assert link.is_symlink()
        assert link.resolve().parent.parent.name == "images"
    assert domain.place(domain.metadata).stat().st_size == 128 * 1024 * 1024
    image = (first.root / "image.raw").read_bytes()
    assert domain.place(domain.engine_disk).read_bytes() == image


def test_first_hosts_leases(first: SimHost) -> None:
    domain = domain_of(first)
    disk = domain.engine_disk.volume
    assert first.sanlock.initialised == [
        ("lockspace", "hosted-engine", domain.lockspace.volume),
        ("lockspace", domain.sd_uuid, "ids"),
        ("lease", domain.sd_uuid, disk, f"{disk}.lease", "0"),
    ]
    assert first.sanlock.joined == {"hosted-engine": 1}


def test_whiteboard_is_allocated_and_empty_beyond_the_first_mib(first: SimHost) -> None:
    place = domain_of(first).place(domain_of(first).metadata)
    assert place.stat().st_blocks * 512 >= 8 * 1024 * 1024
    with place.open("rb") as metadata:
        assert not any(metadata.read(8 * 1024 * 1024))


def test_archive_is_upstreams_tar(first: SimHost, tmp_path: Path) -> None:
    place = domain_of(first).place(domain_of(first).configuration)
    data = place.open("rb").read(20480)
    (tmp_path / "archive.tar").write_bytes(data)
    with tarfile.open(tmp_path / "archive.tar") as archive:
        names = archive.getnames()
    assert names == ["version", "fhanswers.conf", "hosted-engine.conf", "broker.conf", "vm.conf"]


def test_answers_are_kept_without_secrets(first: SimHost) -> None:
    kept = first.root / "var/lib/ovirt-hosted-engine-setup/answers/answers-20261122T030000Z.conf"
    for place in (kept, first.paths.answers_conf):
        text = place.read_text()
        assert "OVEHOSTED_NETWORK/fqdn=str:engine.lab" in text
        assert "OVEHOSTED_STORAGE/sdUUID=str:" in text
        assert "secret" not in text


def test_generated_answers(bare: SimHost) -> None:
    start(bare, 1)
    assert deploy(bare, f"--generate-answer={bare.root}/generated") == 0
    assert "OVEHOSTED_STORAGE/sdUUID=str:" in (bare.root / "generated").read_text()


def test_refused_on_a_host_that_is_deployed(first: SimHost) -> None:
    assert deploy(first) == 1
    assert "already been deployed" in first.complained


def test_additional_host(first: SimHost, second: SimHost) -> None:
    assert deploy(second) == 0, second.complained
    ours = read_hosted_engine_conf(second.paths.hosted_engine_conf)
    theirs = read_hosted_engine_conf(first.paths.hosted_engine_conf)
    assert ours.host_id == 2
    assert {**ours.values, "host_id": "1"} == dict(theirs.values)
    assert second.paths.vm_conf.read_text() == first.paths.vm_conf.read_text()
    assert second.sanlock.initialised == []


def test_additional_host_needs_an_id(second: SimHost) -> None:
    answers = (second.root / "answers").read_text().replace("hostID=int:2", "hostID=none:None")
    second.write(second.root / "answers", answers)
    assert deploy(second) == 1
    assert "OVEHOSTED_STORAGE/hostID is missing" in second.complained


@pytest.mark.parametrize("block", [b"1|1|1|2|0|x|h7", b"2|2|1|2|0|x|h2", b"\xff"])
def test_refused_on_an_id_with_another_hosts_block(second: SimHost, block: bytes) -> None:
    second.whiteboard.blocks[2] = block.ljust(4096, b"\0")
    assert deploy(second) == 1
    assert "Host id 2 is in use" in second.complained
    assert f"umount {second.root / MOUNT}" in second.complained
    assert not second.paths.hosted_engine_conf.exists()


def test_a_host_that_is_installed_anew_gets_its_id_back(second: SimHost) -> None:
    second.whiteboard.blocks[2] = b"1|1|1|2|0|x|h2".ljust(4096, b"\0")
    assert deploy(second) == 0, second.complained
    assert "was this host's before" in second.said


def test_its_old_block_is_no_proof_of_the_new_agent(second: SimHost) -> None:
    second.whiteboard.blocks[2] = b"1|1|1|2|0|x|h2".ljust(4096, b"\0")
    second.services.on_enable = lambda unit: None
    assert deploy(second) == 1
    assert "published nothing" in second.complained


def test_refused_on_an_id_that_sanlock_sees(second: SimHost) -> None:
    second.sanlock.refuses = HostIdTaken("host id 2: another host", -262)
    assert deploy(second) == 1
    assert "another host" in second.complained
    assert not second.paths.hosted_engine_conf.exists()


def test_failure_on_storage_says_what_is_left(bare: SimHost) -> None:
    bare.sanlock.refuses = LockspaceFailed("sanlock does not answer")
    assert deploy(bare) == 1
    directory = next((bare.root / MOUNT).iterdir())
    assert "sanlock does not answer" in bare.complained
    assert f"rm -r {directory}" in bare.complained
    assert not bare.paths.hosted_engine_conf.exists()
    assert deploy(bare) == 1
    assert "a deployment broke off here" in bare.complained
    assert f"rm -r {directory}" in bare.complained


def test_failure_of_services_says_what_is_left(bare: SimHost) -> None:
    bare.services.trouble = None
    bare.services.on_enable = lambda unit: (_ for _ in ()).throw(ServicesFailed("masked"))
    assert deploy(bare) == 1
    assert "masked" in bare.complained
    assert f"rm {bare.paths.hosted_engine_conf}" in bare.complained


def test_an_agent_that_publishes_nothing_is_a_failure(bare: SimHost) -> None:
    assert deploy(bare) == 1
    assert "published nothing in 240 s" in bare.complained


def test_disk_image_that_is_not_there(bare: SimHost) -> None:
    (bare.root / "image.raw").unlink()
    assert deploy(bare) == 1
    assert "image.raw" in bare.complained
    assert f"umount {bare.root / MOUNT}" in bare.complained


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("OVEHOSTED_NETWORK/fqdn=str:", "OVEHOSTED_NETWORK/fqdn is missing"),
        ("OVEHOSTED_NETWORK/network_test=str:pong", "'pong' is not ping"),
        ("OVEHOSTED_NETWORK/gateway=none:None", "OVEHOSTED_NETWORK/gateway is missing"),
        ("OVEHOSTED_STORAGE/domainType=str:floppy", "domainType: 'floppy' is none of"),
        ("OVEHOSTED_STORAGE/hostID=int:2001", "2001 is outside"),
        ("OVEHOSTED_STORAGE/sdUUID=str:x", "OVEHOSTED_STORAGE/sdUUID: 'x' is no UUID"),
        ("OVEHOSTED_VM/vmMACAddr=str:zz", "is no MAC address"),
        ("OVEHOSTED_VM/vmMemSizeMB=str:lots", "'lots' is not a whole number"),
        ("OVEHOSTED_NETWORK/bridgeName=str:a b", "OVEHOSTED_NETWORK/bridgeName: 'a b'"),
        ("OVEHOSTED_NETWORK/fqdn=engine", "'engine' has no type"),
    ],
)
def test_answers_that_cannot_be_used(bare: SimHost, line: str, text: str) -> None:
    (bare.root / MOUNT).mkdir(parents=True)
    more = bare.write(bare.root / "more", f"[environment:default]\n{line}\n")
    assert deploy(bare, f"--config-append={more}") == 1
    assert text in bare.complained
    assert list((bare.root / MOUNT).iterdir()) == []
    assert bare.sanlock.initialised == []


def test_nothing_is_left_by_answers_that_cannot_be_used(bare: SimHost) -> None:
    more = bare.write(
        bare.root / "more", "[environment:default]\nOVEHOSTED_STORAGE/domainType=str:x\n"
    )
    assert deploy(bare, f"--config-append={more}") == 1
    assert "nothing behind" in bare.complained


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("io_timeout_seconds=0", "io_timeout_seconds: 0 is not safe"),
        ("io_timeout_seconds=60", "starting_seconds: 600 is not safe"),
        ("io-timeout=5", "Did you mean io_timeout_seconds?"),
    ],
)
def test_timings_that_the_daemons_would_refuse_are_refused_before_anything_is_made(
    bare: SimHost, line: str, words: str
) -> None:
    bare.write(bare.paths.agent_conf, f"[timing]\n{line}\n")
    assert deploy(bare) == 1
    assert words in bare.complained
    assert bare.sanlock.initialised == []
    assert not (bare.root / MOUNT).exists() or not any((bare.root / MOUNT).iterdir())
