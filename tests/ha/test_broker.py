"""The broker, asked directly, through its socket and through the simulator: one contract."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ha.broker import BrokerService
from ha.broker_server import BrokerServer
from ha.core.facts import Vm
from ha.core.record import BLOCK_BYTES, Record, encode_global, encode_record
from ha.core.vigil import mark_of
from ha.core.vm_lease import FREE_LEASE, UNKNOWN_LEASE, LeaseState, VmLease
from ha.env.ports import Broker, BrokerError, LostWrite, WhiteboardFailed
from ha.rpc import BrokerLink
from tests.ha.broker_world import BrokerWorld
from tests.ha.simulator.virtual import simulated_link

HOST_ID = 7
BLOCK = b"1|1|" + b"x" * (BLOCK_BYTES - 4)


@pytest.fixture
def world() -> BrokerWorld:
    return BrokerWorld()


@pytest.fixture(params=["service", "link", "simulated"])
def broker(request: pytest.FixtureRequest, world: BrokerWorld) -> Iterator[Broker]:
    service = BrokerService(world.env, HOST_ID, interval_seconds=3600)
    service.start()
    if request.param == "service":
        yield service
    elif request.param == "simulated":
        yield simulated_link(service)
    else:
        # A socket's path has a limit of 108 bytes, which pytest's folders can exceed.
        folder = Path(tempfile.mkdtemp(prefix="he"))
        with BrokerServer(folder / "socket", service) as server:
            threading.Thread(target=server.serve_forever, args=(0.02,)).start()
            yield BrokerLink(folder / "socket", 5)
            server.shutdown()
        shutil.rmtree(folder)
    service.stop()


def refused(kind: str) -> "pytest.RaisesExc[BrokerError]":
    return pytest.raises(BrokerError, match=f"^{kind}: ")


def test_its_own_block_and_no_other(broker: Broker, world: BrokerWorld) -> None:
    broker.lock_host_id()
    broker.write_block(BLOCK)
    assert world.whiteboard.blocks == {HOST_ID: BLOCK}


def test_reads_come_from_storage(broker: Broker, world: BrokerWorld) -> None:
    world.whiteboard.blocks = {1: BLOCK, 52: BLOCK}
    assert broker.read_blocks(None) == {1: BLOCK, 52: BLOCK}
    assert broker.read_blocks([52, 53]) == {52: BLOCK}
    del world.whiteboard.blocks[52]
    assert broker.read_blocks([52]) == {}  # no ghost of a block that is gone
    assert world.whiteboard.reads == [None, [52, 53], [52]]


def test_nothing_is_written_without_the_lease(broker: Broker, world: BrokerWorld) -> None:
    with refused("not_locked"):
        broker.write_block(BLOCK)
    with refused("not_locked"):
        broker.set_global_maintenance(True)
    broker.lock_host_id()
    world.lockspace.in_progress = True
    with refused("not_locked"):
        broker.write_block(BLOCK)
    assert world.whiteboard.blocks == {}


def test_global_maintenance_is_on_storage_when_it_returns(
    broker: Broker, world: BrokerWorld
) -> None:
    broker.lock_host_id()
    broker.set_global_maintenance(True)
    assert world.whiteboard.blocks == {0: encode_global(True)}
    broker.set_global_maintenance(False)
    assert world.whiteboard.blocks == {0: encode_global(False)}


def test_a_lost_flag_is_written_again(broker: Broker, world: BrokerWorld) -> None:
    broker.lock_host_id()
    world.whiteboard.lose = [LostWrite("gone")] * 2
    broker.set_global_maintenance(True)
    assert world.whiteboard.blocks == {0: encode_global(True)}


def test_a_flag_that_stays_lost_is_an_error(broker: Broker, world: BrokerWorld) -> None:
    broker.lock_host_id()
    world.whiteboard.lose = [LostWrite("gone")] * 3
    with refused("lost_write"):
        broker.set_global_maintenance(True)


def test_storage_trouble_is_told(broker: Broker, world: BrokerWorld) -> None:
    broker.lock_host_id()
    world.whiteboard.trouble = WhiteboardFailed("Input/output error")
    with refused("storage"):
        broker.read_blocks([1])
    with refused("storage"):
        broker.write_block(BLOCK)
    with refused("storage"):
        broker.set_global_maintenance(True)


def test_the_host_id_is_taken_in_both_lockspaces(broker: Broker, world: BrokerWorld) -> None:
    assert broker.host_id_locked() is False
    broker.lock_host_id()
    broker.lock_host_id()
    assert broker.host_id_locked() is True
    assert (world.lockspace.host_id, world.vm_lockspace.host_id) == (HOST_ID, HOST_ID)
    assert (world.lockspace.joins, world.vm_lockspace.joins) == (1, 1)
    world.vm_lockspace.host_id = None
    assert broker.host_id_locked() is False


def test_the_vms_lockspace_stays_when_the_host_id_is_given_back(
    broker: Broker, world: BrokerWorld
) -> None:
    broker.lock_host_id()
    broker.release_host_id()
    assert (world.lockspace.host_id, world.vm_lockspace.host_id) == (None, HOST_ID)


def test_a_broker_that_is_stopped_keeps_the_lockspaces(world: BrokerWorld) -> None:
    service = BrokerService(world.env, HOST_ID, interval_seconds=3600)
    service.lock_host_id()
    service.stop()
    assert (world.lockspace.host_id, world.vm_lockspace.host_id) == (HOST_ID, HOST_ID)


def test_a_broker_of_a_host_that_goes_down_leaves_them(world: BrokerWorld) -> None:
    service = BrokerService(world.env, HOST_ID, interval_seconds=3600)
    service.lock_host_id()
    service.stop(host_goes_down=True)
    assert (world.lockspace.host_id, world.vm_lockspace.host_id) == (None, None)


def test_a_lockspace_that_cannot_be_left_in_time_does_not_hold_the_shutdown(
    world: BrokerWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ha.broker.LEAVE_SECONDS", 0.05)
    service = BrokerService(world.env, HOST_ID, interval_seconds=3600)
    service.lock_host_id()
    hung = threading.Event()
    monkeypatch.setattr(world.lockspace, "leave", lambda _: hung.wait(10))
    service.stop(host_goes_down=True)
    hung.set()
    assert "leave-lockspaces has not come back within 0.05 s" in caplog.text


def test_a_host_id_that_is_taken_is_an_error(broker: Broker, world: BrokerWorld) -> None:
    world.lockspace.host_id = 8
    with refused("host_id_taken"):
        broker.lock_host_id()


def test_the_list_of_live_hosts_has_an_age(broker: Broker, world: BrokerWorld) -> None:
    assert broker.live_hosts().age_seconds is None
    broker.set_live_hosts([7, 8], None, [9])
    world.clock.now += 90
    live = broker.live_hosts()
    assert (live.host_ids, live.age_seconds, live.dead_ids) == ((7, 8), 90.0, (9,))


def test_notes_reach_the_notifier(broker: Broker, world: BrokerWorld) -> None:
    broker.notify("state_transition", "EngineDown-EngineStart")
    broker.notify("anomaly.two-vms", "ids 1, 2", 1_700_000_000.5)
    assert world.notes == ["state_transition EngineDown-EngineStart", "anomaly.two-vms ids 1, 2"]
    assert world.since == [None, 1_700_000_000.5]


def test_monitors_keep_their_types(broker: Broker) -> None:
    values = broker.monitors()
    assert (values["network"], values["bridge"], values["cpu-load"]) == (1.0, True, 0.25)
    assert values["storage-domain"] is True


@pytest.mark.parametrize("host_ids", [[2001], [-1]])
def test_an_id_out_of_range_is_a_bad_request(broker: Broker, host_ids: list[int]) -> None:
    with refused("bad_request"):
        broker.read_blocks(host_ids)


@pytest.mark.parametrize("size", [0, 512, BLOCK_BYTES + 1])
def test_a_block_of_another_size_is_a_bad_request(broker: Broker, size: int) -> None:
    broker.lock_host_id()
    with refused("bad_request"):
        broker.write_block(b"1" * size)


def block_of(vm: str) -> bytes:
    status = f'{{"vm": "{vm}", "health": "good", "detail": "Up"}}'
    return encode_record(Record(2, 7, 3400, status, "h2"))


def test_the_engine_of_a_host_is_watched_until_it_has_gone(
    broker: Broker, world: BrokerWorld
) -> None:
    mark = mark_of(VmLease(LeaseState.LIVE, 2), Vm.UP)
    world.lease.value = VmLease(LeaseState.LIVE, 2)
    world.whiteboard.blocks[2] = block_of("up")
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        world.clock.now += seconds
        if len(naps) == 3:
            world.whiteboard.blocks[2] = block_of("down_unexpected")

    world.clock.sleep = sleep  # type: ignore[method-assign]
    gone = mark_of(VmLease(LeaseState.LIVE, 2), Vm.DOWN_UNEXPECTED)
    assert broker.watch_engine(2, mark, 5.0) == gone
    assert naps == [0.25] * 3
    world.lease.value = FREE_LEASE
    assert broker.watch_engine(2, gone, 5.0) == mark_of(FREE_LEASE, Vm.DOWN_UNEXPECTED)
    assert len(naps) == 3


def test_a_watch_ends_in_time_also_when_storage_does_not_answer(
    broker: Broker, world: BrokerWorld
) -> None:
    began = world.clock.now
    world.whiteboard.trouble = WhiteboardFailed("no storage")
    assert broker.watch_engine(2, "as it was", 1.0) == "as it was"
    assert world.clock.now == began + 1.0
    assert broker.watch_engine(2, "as it was", 3600.0) == "as it was"
    assert world.clock.now == began + 11.0


def test_what_a_block_does_not_tell_is_no_vm(broker: Broker, world: BrokerWorld) -> None:
    for block in (b"\xff" * BLOCK_BYTES, b"1|1|5|2|3400|nonsense|h2".ljust(BLOCK_BYTES, b"\0")):
        world.whiteboard.blocks[2] = block
        assert broker.watch_engine(2, "", 1.0) == mark_of(UNKNOWN_LEASE, None)


@pytest.mark.parametrize("host_id", [-1, 0, 2001])
def test_no_engine_is_watched_on_an_id_out_of_range(broker: Broker, host_id: int) -> None:
    with refused("bad_request"):
        broker.watch_engine(host_id, "", 1.0)
