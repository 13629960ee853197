"""`--reinitialize-lockspace`: only what nobody uses is overwritten, and 0 means proven."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ha.cli import lockspace
from ha.cli.host import Host
from ha.cli.proof import keep
from ha.core.record import encode_global
from ha.env.ports import LockspaceFailed
from ha.services import ServicesFailed
from tests.ha.cli.sim import SimHost
from tests.ha.cli.sim_storage import MIB, area_of, lease_sector, put_area
from tests.ha.cli.stopped import area, block, lockspace_of, stop_all

VERB = "--reinitialize-lockspace"
TOO_NEW = b"2|2|1|52|0|x|h".ljust(4096, b"\0")
GARBAGE = b"\xff\xfe\xfd".ljust(4096, b"\0")
SHORT_SECONDS, DEAD_SECONDS = 25.0, 140.0


@pytest.fixture
def stored(host: SimHost) -> SimHost:
    return stop_all(host)


def test_a_lockspace_that_nobody_uses(stored: SimHost) -> None:
    put_area(lockspace_of(stored), b"garbage" * 100)
    old = area(stored)
    assert stored.run(VERB) == 0, stored.complained
    assert area(stored) == area_of("hosted-engine")
    backup = stored.paths.state / "backups/lockspace-20261122T030000Z.bin"
    assert backup.read_bytes() == old
    assert f"Backup of {MIB} bytes: {backup} sha256 {hashlib.sha256(old).hexdigest()}" in stored.out
    assert "is initialized and reads as empty: 2000 free leases, sector 512" in stored.said
    assert f"Way back, while every agent is stopped: dd if={backup} of=" in stored.said
    assert "overrides" not in stored.said


def bad_0(host: SimHost) -> None:
    host.whiteboard.blocks[0] = b"maintenance=x".ljust(4096, b"\0")


# What is wrong on the storage, and the words of the check that says so. Upstream passes over the
# first, and skips all of its checks because of the third, fourth and fifth.
WRONG: dict[str, tuple[Callable[[SimHost], object], list[str]]] = {
    "no block 0": (
        lambda host: host.whiteboard.blocks.pop(0),
        ["global-maintenance: Lockfile reset can be performed in global maintenance mode only: "
         "block 0 is absent or cannot be read"],
    ),
    "off": (
        lambda host: host.whiteboard.blocks.update({0: encode_global(False)}),
        ["global-maintenance: ", "block 0 says that it is off"],
    ),
    "bad block 0": (bad_0, ["global-maintenance: ", "readable-block: block 0: Malformed global"]),
    "too new": (
        lambda host: host.whiteboard.blocks.update({52: TOO_NEW}),
        ["readable-block: block 52: Metadata version 2 from host 52 too new"],
    ),
    "garbage": (
        lambda host: host.whiteboard.blocks.update({7: GARBAGE}),
        ["readable-block: block 7: Malformed metadata for host 7: not UTF-8"],
    ),
    "not stopped": (
        lambda host: host.whiteboard.blocks.update({2: block(2, stopped=False)}),
        ["stopped-flag: Lockfile reset cannot be performed with an active agent: host 2 (h2)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_failed_check_refuses_and_force_names_it(stored: SimHost, name: str) -> None:
    spoil, words = WRONG[name]
    spoil(stored)
    old = area(stored)
    assert stored.run(VERB) == 1
    assert area(stored) == old
    assert all(word in stored.complained for word in words), stored.complained
    assert stored.complained.splitlines()[-1] == "Consider --force, which overrides them."
    assert stored.run(VERB, "--force") == 0, stored.complained
    assert all(word in stored.said for word in words), stored.said
    assert stored.said.count(f"--force overrides {words[0]}") == 1


def test_a_bad_block_does_not_hide_what_else_is_wrong(stored: SimHost) -> None:
    stored.whiteboard.blocks |= {0: encode_global(False), 2: block(2, stopped=False), 52: TOO_NEW}
    assert stored.run(VERB) == 1
    for check in ("global-maintenance", "stopped-flag", "readable-block"):
        assert check in stored.complained


def agent_runs(host: SimHost) -> None:
    host.services.active.add("ovirt-ha-agent")


def joined(host: SimHost) -> None:
    host.sanlock.joined["hosted-engine"] = 1


def writes_block(host: SimHost) -> None:
    host.clock.naps.append(lambda: host.whiteboard.blocks.update({2: block(2, timestamp=2)}))


def appears(host: SimHost) -> None:
    host.clock.naps.append(lambda: host.whiteboard.blocks.update({3: block(3)}))


def renews(host: SimHost) -> None:
    put_area(lockspace_of(host), area_of("hosted-engine", h2=lease_sector("hosted-engine", 2, 5)))
    host.clock.naps.append(
        lambda: put_area(
            lockspace_of(host), area_of("hosted-engine", h2=lease_sector("hosted-engine", 2, 25))
        )
    )


def writes_something(host: SimHost) -> None:
    host.clock.naps.append(lambda: put_area(lockspace_of(host), b"x"))


LIVE: dict[str, tuple[Callable[[SimHost], object], str]] = {
    "its own agent": (agent_runs, "agent-stopped: ovirt-ha-agent runs on this host"),
    "its own sanlock": (joined, "not-joined: sanlock of this host is in the lockspace"),
    "a host that writes": (writes_block, "liveness: host 2 has just written its block"),
    "a host that had no block": (appears, "liveness: host 3 has just written its block"),
    "a lease that is renewed": (renews, "lease: host id 2 (lab-h2)"),
    "an area that changes": (writes_something, "liveness: a host has just written its lease"),
}


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("name", LIVE)
def test_what_lives_is_not_overwritten_with_force_or_without(
    stored: SimHost, name: str, force: list[str]
) -> None:
    spoil, words = LIVE[name]
    spoil(stored)
    assert stored.run(VERB, *force) == 1
    assert words in stored.complained
    assert f"Not even --force overrides {words.split(':')[0]}" in stored.complained or (
        "Not even --force overrides liveness" in stored.complained
    )
    assert stored.sanlock.initialised == []
    assert not (stored.paths.state / "backups").exists()


def test_a_lease_that_was_not_given_back_is_watched_until_its_host_is_dead(
    stored: SimHost,
) -> None:
    held = area_of("hosted-engine", h2=lease_sector("hosted-engine", 2, 5))
    put_area(lockspace_of(stored), held)
    began = stored.clock.now
    assert stored.run(VERB) == 0, stored.complained
    assert stored.clock.now - began == DEAD_SECONDS
    assert "The lease on host id 2 (lab-h2) was not given back" in stored.said


def test_force_does_not_wait_for_that_and_says_so(stored: SimHost) -> None:
    put_area(lockspace_of(stored), area_of("hosted-engine", h2=lease_sector("hosted-engine", 2, 5)))
    began = stored.clock.now
    assert stored.run(VERB, "--force") == 0, stored.complained
    assert stored.clock.now - began == SHORT_SECONDS
    assert "--force overrides lease-free: the lease on host id 2 (lab-h2)" in stored.said


def test_a_check_that_fails_while_it_is_watched(stored: SimHost) -> None:
    stored.clock.naps.append(lambda: stored.whiteboard.blocks.update({0: encode_global(False)}))
    assert stored.run(VERB) == 1
    assert "block 0 says that it is off" in stored.complained


def test_an_agent_that_is_started_while_it_is_watched(stored: SimHost) -> None:
    stored.clock.naps.append(lambda: agent_runs(stored))
    assert stored.run(VERB, "--force") == 1
    assert "agent-stopped" in stored.complained
    assert stored.sanlock.initialised == []


def test_a_lease_written_at_the_last_moment(
    stored: SimHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep_slowly(host: Host, name: str, data: bytes) -> Path:
        put_area(lockspace_of(stored), b"x")
        return keep(host, name, data)

    monkeypatch.setattr(lockspace, "keep", keep_slowly)
    assert stored.run(VERB, "--force") == 1
    assert "A host has just written its lease" in stored.complained
    assert stored.sanlock.initialised == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda host: setattr(host.services, "trouble", ServicesFailed("no systemd")), "systemd"),
        (lambda host: setattr(host.sanlock, "trouble", LockspaceFailed("no daemon")), "no daemon"),
        (lambda host: lockspace_of(host).write_bytes(bytes(4096)), "1048576 are needed"),
        (lambda host: host.write(host.paths.state / "backups", "in the way"), "File exists"),
    ],
)
def test_what_cannot_be_known_or_kept_refuses(
    stored: SimHost, spoil: Callable[[SimHost], object], words: str
) -> None:
    spoil(stored)
    assert stored.run(VERB, "--force") == 1
    assert words in stored.complained
    assert stored.sanlock.initialised == []
