"""The monitors: what is told at once, what grows old, what wakes them."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ha.core.facts import EngineStatus
from ha.core.sighting import StopReason, VmSighting, VmState
from ha.core.vm_lease import FREE_LEASE, UNKNOWN_LEASE, LeaseState, VmLease
from ha.env.ports import WhiteboardFailed
from ha.env.threads import HostThreads
from ha.monitors import EngineHealth, Monitor, Monitors, domain_valid
from tests.ha.broker_world import BrokerWorld
from tests.ha.fakes import FakeClock

UP = VmSighting(VmState.UP)
KILLED = VmSighting(VmState.DOWN, StopReason.FAILED)
HELD = VmLease(LeaseState.LIVE, 2)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def world() -> BrokerWorld:
    return BrokerWorld()


@pytest.fixture
def monitors(world: BrokerWorld) -> Iterator[Monitors]:
    monitors = Monitors(world.env, interval_seconds=3600)
    monitors.start()
    yield monitors
    monitors.stop()


def test_all_are_told_six_by_upstreams_names(monitors: Monitors) -> None:
    values = dict(monitors.values())
    health = values.pop("engine-health")
    assert values == {
        "network": 1.0,
        "bridge": True,
        "mem-free": 4096.0,
        "cpu-load": 0.25,
        "storage-domain": True,
        "vm-lease": {"owner": None, "state": "unknown"},
    }
    assert isinstance(health, dict)
    assert health["vm"] == "down"


def vm_state(monitors: Monitors) -> object:
    health = monitors.values()["engine-health"]
    assert isinstance(health, dict)
    return health["vm"], health["health"]


def test_an_event_of_libvirt_is_looked_at_at_once(world: BrokerWorld, monitors: Monitors) -> None:
    assert vm_state(monitors) == ("down", "bad")
    world.vm.change(UP)
    until(lambda: vm_state(monitors) == ("up", "good"))
    world.vm.change(KILLED)
    until(lambda: vm_state(monitors) == ("down_unexpected", "bad"))


def test_a_started_vm_is_up_before_its_health_page_answers(
    world: BrokerWorld, monitors: Monitors
) -> None:
    answered = threading.Event()
    world.probes.page = answered.wait
    assert vm_state(monitors) == ("down", "bad")
    world.vm.change(UP)
    until(lambda: vm_state(monitors) == ("up", "bad"))
    answered.set()
    until(lambda: vm_state(monitors) == ("up", "good"))


def test_a_vm_that_dies_while_its_page_is_asked_is_not_told_as_up(world: BrokerWorld) -> None:
    def die() -> bool:
        world.vm.seen = KILLED
        return True

    world.vm.seen = UP
    health = EngineHealth(world.vm, lambda: True)
    shown: list[EngineStatus] = []
    assert health.look(shown.append).vm.value == "up"
    assert EngineHealth(world.vm, die).look(shown.append).vm.value != "up"


def test_a_good_engine_stays_good_while_its_page_is_asked_again(world: BrokerWorld) -> None:
    world.vm.seen = UP
    health = EngineHealth(world.vm, lambda: True)
    shown: list[EngineStatus] = []
    for _ in range(3):
        health.look(shown.append)
    assert [status.health.value for status in shown] == ["bad", "good", "good"]


def test_the_vms_lease_is_what_it_is_now(world: BrokerWorld, monitors: Monitors) -> None:
    """Not what it was at the last look, which may be 10 s ago."""
    for lease in (HELD, FREE_LEASE, HELD):
        world.lease.value = lease
        assert monitors.values()["vm-lease"] == lease.as_dict()


def test_a_lease_that_cannot_be_looked_at_in_time_is_unknown_and_holds_nobody(
    world: BrokerWorld, monitors: Monitors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ha.monitors.LEASE_SECONDS", 0.05)
    world.lease.value = HELD
    assert monitors.values()["vm-lease"] == HELD.as_dict()
    world.lease.hangs = threading.Event()
    for _ in range(3):
        assert monitors.values()["vm-lease"] == UNKNOWN_LEASE.as_dict()
    assert len(monitors._vm_lease._waiting) == 0
    world.lease.hangs.set()
    until(lambda: monitors.values()["vm-lease"] == HELD.as_dict())


def test_a_look_that_hangs_lets_its_value_grow_old(world: BrokerWorld) -> None:
    world.probes.hang = threading.Event()
    monitors = Monitors(world.env, interval_seconds=10)
    monitors._network._looked.set()  # as if the first look had been long ago
    monitors.start()
    assert monitors.values()["network"] == 1.0
    world.clock.now += 51
    assert monitors.values()["network"] == 0.0
    world.probes.hang.set()
    monitors.stop()


def test_looks_are_an_interval_apart_from_start_to_start() -> None:
    clock = FakeClock()
    looks = 0

    def look() -> int:
        nonlocal looks
        looks += 1
        clock.now += 1000  # longer than the interval: the next look is due at once
        return looks

    monitor = Monitor(
        "x", look, first=0, cannot_tell=-1, clock=clock, threads=HostThreads(), interval_seconds=10
    )
    monitor.start()
    until(lambda: looks > 3)
    monitor.stop()


def test_a_storage_domain_that_fails_is_not_valid(world: BrokerWorld) -> None:
    assert domain_valid(world.env)
    world.domain.trouble = WhiteboardFailed("Input/output error")
    assert not domain_valid(world.env)


@pytest.mark.parametrize(("delay_seconds", "valid"), [(10.0, True), (10.5, False)])
def test_a_storage_domain_that_is_slow_is_not_valid(
    world: BrokerWorld, delay_seconds: float, valid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.domain, "read_blocks", lambda _: world.clock.sleep(delay_seconds))
    assert domain_valid(world.env) is valid
