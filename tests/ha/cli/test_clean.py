"""`--clean-metadata`: only a host that is proven gone is forgotten, and its block is kept."""

import hashlib
from pathlib import Path

import pytest

from ha.cli import clean
from ha.cli.host import Host
from ha.cli.proof import keep
from ha.core.record import Record, encode_record
from ha.env.ports import HostIdTaken, LostWrite
from ha.services import ServicesFailed
from ha.storage_domain import storage_domain_of
from tests.ha.cli.sim import SimHost


def block(host_id: int, *, stopped: bool, timestamp: int = 1) -> bytes:
    status = '{"vm": "down", "health": "bad", "detail": "unknown"}'
    record = Record(
        host_id=host_id, timestamp=timestamp, score=0, engine_status=status, hostname="h",
        maintenance=False, stopped=stopped, conf_on_shared_storage=True, local_conf_timestamp=1,
    )  # fmt: skip
    return encode_record(record)


@pytest.fixture
def stored(host: SimHost) -> SimHost:
    """A host whose storage is there, with two blocks of hosts that stopped cleanly."""
    lines = host.paths.hosted_engine_conf.read_text().splitlines()
    domain = storage_domain_of(dict(line.split("=", 1) for line in lines), host.root)
    for volume in domain.volumes:
        host.write(domain.place(volume), "")
    host.whiteboard.blocks = {n: block(n, stopped=True) for n in (1, 2)}
    return host


def test_own_block(stored: SimHost) -> None:
    old = stored.whiteboard.blocks[1]
    assert stored.run("--clean-metadata") == 0, stored.complained
    assert not any(stored.whiteboard.blocks[1])
    assert any(stored.whiteboard.blocks[2])
    backup = stored.paths.state / "backups/block-1-20261122T030000Z.bin"
    assert backup.read_bytes() == old
    assert f"{backup} sha256 {hashlib.sha256(old).hexdigest()}" in stored.said
    assert stored.sanlock.left == [("hosted-engine", 1)]


def test_another_hosts_block(stored: SimHost) -> None:
    assert stored.run("--clean-metadata", "--host-id=2") == 0, stored.complained
    assert any(stored.whiteboard.blocks[1])
    assert not any(stored.whiteboard.blocks[2])
    assert stored.sanlock.left == [("hosted-engine", 2)]


def test_an_empty_block_is_done_already(stored: SimHost) -> None:
    assert stored.run("--clean-metadata", "--host-id=7") == 0
    assert "nothing to clean" in stored.said


def test_a_lease_that_was_held_before_is_kept(stored: SimHost) -> None:
    stored.sanlock.joined["hosted-engine"] = 1
    assert stored.run("--clean-metadata") == 0
    assert stored.sanlock.joined == {"hosted-engine": 1}


def test_refused_while_the_agent_runs(stored: SimHost) -> None:
    stored.services.active.add("ovirt-ha-agent")
    assert stored.run("--clean-metadata", "--force-cleanup") == 1
    assert "Not even --force-cleanup overrides agent-stopped" in stored.complained
    assert "systemctl stop ovirt-ha-agent" in stored.complained


def test_force_that_nothing_needs_overrides_nothing(stored: SimHost) -> None:
    assert stored.run("--clean-metadata", "--host-id=2", "--force-cleanup") == 0
    assert "overrides" not in stored.said


def test_nothing_is_emptied_without_its_backup(stored: SimHost) -> None:
    (stored.paths.state).mkdir(parents=True, exist_ok=True)
    (stored.paths.state / "backups").write_text("in the way")
    assert stored.run("--clean-metadata", "--host-id=2") == 1
    assert any(stored.whiteboard.blocks[2])
    assert stored.sanlock.joined == {}


def test_a_block_written_at_the_last_moment(
    stored: SimHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep_slowly(host: Host, name: str, data: bytes) -> Path:
        stored.whiteboard.blocks[2] = block(2, stopped=False, timestamp=2)
        return keep(host, name, data)

    monkeypatch.setattr(clean, "keep", keep_slowly)
    assert stored.run("--clean-metadata", "--host-id=2") == 1
    assert "Host 2 is alive" in stored.complained
    assert any(stored.whiteboard.blocks[2])


def test_refused_when_systemd_does_not_say(stored: SimHost) -> None:
    stored.services.trouble = ServicesFailed("no systemd")
    assert stored.run("--clean-metadata", "--force-cleanup") == 1


def test_an_unclean_block_needs_force(stored: SimHost) -> None:
    stored.whiteboard.blocks[2] = block(2, stopped=False)
    assert stored.run("--clean-metadata", "--host-id=2") == 1
    assert "stopped-flag: Cannot clean unclean metadata block: host 2 (h)" in stored.complained
    assert "Consider --force-cleanup" in stored.complained
    assert any(stored.whiteboard.blocks[2])
    assert stored.run("--clean-metadata", "--host-id=2", "--force-cleanup") == 0
    assert "--force-cleanup overrides stopped-flag: Cannot clean unclean" in stored.said


def test_a_bad_block_needs_force(stored: SimHost) -> None:
    stored.whiteboard.blocks[52] = b"2|2|1|52|0|x|h".ljust(4096, b"\0")
    assert stored.run("--clean-metadata", "--host-id=52") == 1
    assert "readable-block: block 52: Metadata version 2 from host 52" in stored.complained
    assert stored.run("--clean-metadata", "--host-id=52", "--force-cleanup") == 0
    assert "--force-cleanup overrides readable-block: block 52" in stored.said
    assert not any(stored.whiteboard.blocks[52])


def test_force_does_not_clean_a_host_that_writes(stored: SimHost) -> None:
    def write() -> None:
        stored.whiteboard.blocks[2] = block(2, stopped=False, timestamp=2)

    stored.whiteboard.blocks[2] = block(2, stopped=False)
    stored.clock.naps.append(write)
    assert stored.run("--clean-metadata", "--host-id=2", "--force-cleanup") == 1
    assert "Host 2 is alive" in stored.complained
    assert any(stored.whiteboard.blocks[2])


def test_force_does_not_clean_a_host_that_sanlock_sees(stored: SimHost) -> None:
    stored.sanlock.refuses = HostIdTaken("host id 2", -262)
    assert stored.run("--clean-metadata", "--host-id=2", "--force-cleanup") == 1
    assert "sanlock refuses host id 2" in stored.complained
    # What gives this host's own id back is an agent that ends; a broker that ends keeps it.
    assert "systemctl restart ovirt-ha-agent; systemctl stop ovirt-ha-agent" in stored.complained
    assert "ovirt-ha-broker" not in stored.complained
    assert any(stored.whiteboard.blocks[2])


def test_a_lost_write_is_no_success(stored: SimHost) -> None:
    stored.whiteboard.loses_writes = True
    assert stored.run("--clean-metadata", "--host-id=2") == 1
    assert stored.sanlock.left == [("hosted-engine", 2)]


def test_a_write_that_storage_refuses(stored: SimHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host_id: int, data: bytes) -> None:
        raise LostWrite("not what was written")

    monkeypatch.setattr(stored.whiteboard, "write_block", refuse)
    assert stored.run("--clean-metadata", "--host-id=2") == 1
    assert "The metadata was not cleaned. not what was written" in stored.complained
    assert stored.sanlock.joined == {}


@pytest.mark.parametrize("host_id", ["0", "2001", "x", "-1", "٣", "1_0", "9" * 400])
def test_host_ids_that_cannot_be(stored: SimHost, host_id: str) -> None:
    assert stored.run("--clean-metadata", f"--host-id={host_id}") == 1
    assert "1 to 2000" in stored.complained
