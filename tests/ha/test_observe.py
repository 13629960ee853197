import pytest

from ha.core.facts import UNKNOWN_ENGINE, Vm
from ha.core.record import GLOBAL_BLOCK, Verdict
from ha.env.ports import BrokerError, BrokerUnreachable, EnvError
from ha.observe import Blind, Known, Sight, look_at_host, look_at_whiteboard
from tests.ha.fakes import FakeBroker

NOTHING_KNOWN = Known()


def look(broker: FakeBroker, known: Known = NOTHING_KNOWN, now: float = 100.0) -> Sight:
    return look_at_whiteboard(broker, known, host_id=1, now=now, full_read_seconds=60)


def test_monitors_become_values() -> None:
    local = look_at_host(FakeBroker(), maintenance=False)
    assert (local.network, local.bridge, local.memory_free_mib, local.cpu_load) == (
        1.0, True, 8192.0, 0.1,
    )  # fmt: skip
    assert local.engine.vm is Vm.DOWN


def test_what_a_monitor_cannot_tell_is_none_or_bad_never_good() -> None:
    broker = FakeBroker()
    broker.values = {"storage-domain": True, "bridge": "False", "network": None, "mem-free": True}
    local = look_at_host(broker, maintenance=False)
    assert local.engine == UNKNOWN_ENGINE
    assert (local.bridge, local.network, local.memory_free_mib, local.cpu_load) == (
        False, 0.0, None, None,
    )  # fmt: skip


@pytest.mark.parametrize("valid", [False, None, "False"])
def test_an_invalid_storage_domain_blinds_except_in_maintenance(valid: object) -> None:
    broker = FakeBroker()
    broker.values["storage-domain"] = valid
    with pytest.raises(Blind):
        look_at_host(broker, maintenance=False)
    assert look_at_host(broker, maintenance=True).storage_domain is False


@pytest.mark.parametrize("trouble", [BrokerUnreachable("no"), BrokerError("storage", "no")])
def test_trouble_with_the_broker_blinds(trouble: EnvError) -> None:
    broker = FakeBroker(trouble=trouble)
    with pytest.raises(Blind):
        look_at_host(broker, maintenance=True)
    with pytest.raises(Blind):
        look(broker)


def test_bad_blocks_are_told_and_the_good_ones_used() -> None:
    broker = FakeBroker()
    broker.put_peer(2, 7)
    broker.blocks[3] = b"\xff" * 4096
    broker.blocks[52] = b"2|2|1|52|0|x|h".ljust(4096, b"\0")
    broker.blocks[1] = b"\xff" * 4096
    sight = look(broker)
    assert [peer.host_id for peer in sight.peers] == [2]
    assert [(b.host_id, b.verdict) for b in sight.bad] == [
        (3, Verdict.UNREADABLE),
        (52, Verdict.TOO_NEW),
    ]
    assert sight.known.host_ids == {1, 2, 3, 52} - {1}


@pytest.mark.parametrize(
    ("block", "on"), [(b"maintenance=1", True), (b"maintenance=0", False), (b"\xff", False)]
)
def test_the_global_flag(block: bytes, on: bool) -> None:
    broker = FakeBroker()
    assert look(broker).global_maintenance is False
    broker.blocks[GLOBAL_BLOCK] = block.ljust(4096, b"\0")
    assert look(broker).global_maintenance is on


def test_a_new_host_is_found_by_the_next_full_read() -> None:
    broker = FakeBroker()
    broker.put_peer(2, 7)
    first = look(broker)
    broker.put_peer(9, 7)
    second = look(broker, first.known, now=110.0)
    assert broker.reads == [None, [0, 2]]
    assert [peer.host_id for peer in second.peers] == [2]
    third = look(broker, second.known, now=161.0)
    assert [peer.host_id for peer in third.peers] == [2, 9]


def test_a_peer_with_an_unparsable_engine_status_has_none() -> None:
    broker = FakeBroker()
    broker.blocks[2] = b"1|1|5|2|3400|nonsense|h2".ljust(4096, b"\0")
    (peer,) = look(broker).peers
    assert peer.engine is None
