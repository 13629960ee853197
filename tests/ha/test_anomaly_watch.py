"""The agent tells what is wrong: once, with its beginning, and never instead of taking its turn."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ha.core.record import Record, encode_global, encode_record
from ha.env.ports import BrokerError
from tests.ha.agent_bench import Host
from tests.ha.fakes import UNEXPECTED, UP, FakeBell

TOO_NEW = b"2|2|1|52|0|x|h".ljust(4096, b"\0")
GARBAGE = b"\xff\xfe".ljust(4096, b"\0")
EPOCH = 1_700_000_000.0


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def anomalies(host: Host) -> list[str]:
    return [note.split(maxsplit=1)[0] for note in host.broker.notes if note.startswith("anomaly.")]


def nothing() -> None:
    return None


def peers_write(host: Host, **engine: str) -> None:
    for number in (2, 3):
        host.broker.put_peer(number, int(host.clock.now), **engine)


def test_a_bad_block_is_told_once_while_it_is_there(host: Host) -> None:
    host.broker.blocks[52] = TOO_NEW
    host.broker.blocks[53] = GARBAGE
    host.run(turns=20)
    assert anomalies(host) == ["anomaly.metadata-too-new", "anomaly.metadata-garbage"]
    assert "block 52: Metadata version 2 from host 52 too new" in " ".join(host.broker.notes)
    assert host.broker.since == [EPOCH + 1000] * 2


def test_it_is_told_again_after_it_was_gone(host: Host) -> None:
    def put() -> None:
        host.broker.blocks[52] = TOO_NEW

    def mend() -> None:
        del host.broker.blocks[52]

    put()
    host.run(nothing, mend, nothing, put, *[nothing] * 8)
    assert anomalies(host) == ["anomaly.metadata-too-new"] * 2


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("lockspace", ["anomaly.lockspace-unusable"]),
        ("host_id_taken", ["anomaly.duplicate-host-id"]),
        ("failed", []),
        ("joining", []),
    ],
)
def test_why_there_is_no_lease(host: Host, kind: str, told: list[str]) -> None:
    def refuse() -> None:
        raise BrokerError(kind, "(-223, 'Sanlock lockspace add failure')")

    host.broker.lock_host_id = refuse  # type: ignore[method-assign]
    host.run(turns=5)
    assert anomalies(host) == told
    assert host.broker.published == []


def test_a_lease_that_comes_after_all_clears_it(host: Host) -> None:
    take = host.broker.lock_host_id
    refusals = [BrokerError("lockspace", "bad"), BrokerError("joining", "wait")] * 2

    def lock() -> None:
        if refusals:
            raise refusals.pop(0)
        take()

    def lose() -> None:
        host.broker.locked = False
        refusals.append(BrokerError("lockspace", "bad"))

    host.broker.lock_host_id = lock  # type: ignore[method-assign]
    host.run(*[nothing] * 6, lose, nothing, nothing)
    assert anomalies(host) == ["anomaly.lockspace-unusable"] * 2


def block_of(name: str, host_id: int = 1) -> bytes:
    return encode_record(Record(host_id, 5, 0, "{}", name))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (block_of("another"), ["anomaly.duplicate-host-id"]),
        (b"garbage".ljust(4096, b"\0"), ["anomaly.duplicate-host-id"]),
        (bytes(4096), []),
        (None, []),
    ],
)
def test_our_own_block_written_by_somebody_else(
    host: Host, written: bytes | None, told: list[str]
) -> None:
    """Seen when the whole range is read, which is once a minute; our next write covers it."""
    reads = host.broker.read_blocks
    looked: list[int] = []

    def read(host_ids):  # type: ignore[no-untyped-def]
        if host_ids is None:
            looked.append(1)
            if len(looked) == 2 and written is not None:
                host.broker.blocks[1] = written
        return reads(host_ids)

    host.broker.read_blocks = read  # type: ignore[method-assign]
    host.run(turns=10)
    assert len(looked) == 2
    assert anomalies(host) == told
    if told and written == block_of("another"):
        assert "block 1 of this host was written by another: another" in " ".join(host.broker.notes)


def test_two_hosts_that_claim_the_vm(host: Host) -> None:
    host.broker.values["engine-health"] = UP
    steps = [lambda: peers_write(host, **UP)] * 16
    host.run(*steps)
    assert anomalies(host) == ["anomaly.two-vms"]


def test_an_old_claim_that_lands_late_is_no_second_vm(host: Host) -> None:
    """A write that hung with the storage: one more change, and then silence."""
    host.broker.values["engine-health"] = UP
    steps = [lambda: None] * 6 + [lambda: peers_write(host, **UP)] + [lambda: None] * 13
    host.run(lambda: peers_write(host, **UP), *steps)
    assert anomalies(host) == []


def test_forgotten_maintenance(host: Host) -> None:
    host.broker.blocks[0] = encode_global(True)

    def later() -> None:
        host.clock.now += 4 * 3600

    host.run(nothing, later, nothing)
    assert anomalies(host) == ["anomaly.forgotten-maintenance"]
    assert host.broker.since == [EPOCH + 1000]


def test_the_engine_went_down_unexpectedly(host: Host) -> None:
    host.broker.values["engine-health"] = UP
    host.run(nothing, nothing, host.health(UNEXPECTED), nothing, nothing)
    assert "EngineUnexpectedlyDown" in host.states
    assert anomalies(host) == ["anomaly.engine-unexpectedly-down"]


def test_a_broker_that_cannot_be_told_stops_nobody(host: Host) -> None:
    def refuse(event: str, detail: str, since: float | None = None) -> None:
        raise BrokerError("failed", "no events today")

    host.broker.notify = refuse  # type: ignore[method-assign]
    host.broker.blocks[52] = TOO_NEW
    host.run(turns=3)
    assert len(host.broker.published) == 5  # four turns and the farewell


def restart(host: Host, *plan: Callable[[], None], turns: int = 0) -> None:
    before = len(host.broker.published)
    host.bell = FakeBell(host.clock)
    host.run(*plan, turns=turns)
    assert len(host.broker.published) > before + 1


def test_a_restarted_agent_does_not_tell_it_again(host: Host) -> None:
    host.broker.blocks[52] = TOO_NEW
    host.run(turns=2)
    host.clock.now += 60
    restart(host, turns=2)
    assert anomalies(host) == ["anomaly.metadata-too-new"]


def test_what_cleared_while_it_restarted_is_told_when_it_comes_back(host: Host) -> None:
    host.broker.blocks[52] = TOO_NEW
    host.run(turns=2)
    del host.broker.blocks[52]
    restart(host, nothing, lambda: host.broker.blocks.update({52: TOO_NEW}), *[nothing] * 8)
    assert anomalies(host) == ["anomaly.metadata-too-new"] * 2


def test_what_lasts_has_begun_before_the_restart(host: Host) -> None:
    host.broker.blocks[0] = encode_global(True)
    host.run(turns=2)
    (host.root / "var/run/ovirt-hosted-engine-ha/anomalies.json").write_text(
        json.dumps({"at": int(host.clock.now), "now": [["forgotten-maintenance", "", -13500, 0]]})
    )
    restart(host, turns=1)
    assert anomalies(host) == ["anomaly.forgotten-maintenance"]
    assert host.broker.since == [EPOCH - 13500]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"at": "x", "now": []}',
        '{"at": 1000, "now": [["x", "", 0, true]]}',
        '{"at": 1000, "now": [["two-vms"]]}',
        '{"at": 600, "now": [["metadata-too-new", "52", 0, true]]}',
        '{"at": 2000, "now": [["metadata-too-new", "52", 0, true]]}',
    ],
)
def test_a_file_that_says_nothing_is_passed_over(host: Host, text: str) -> None:
    file = host.root / "var/run/ovirt-hosted-engine-ha/anomalies.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    host.broker.blocks[52] = TOO_NEW
    host.run(turns=1)
    assert anomalies(host) == ["anomaly.metadata-too-new"]


def test_a_file_that_cannot_be_written_stops_nobody(host: Host) -> None:
    (host.root / "var").write_text("in the way")
    host.broker.blocks[52] = TOO_NEW
    host.run(turns=2)
    assert anomalies(host) == ["anomaly.metadata-too-new"]
