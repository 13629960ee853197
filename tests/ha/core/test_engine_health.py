from itertools import product

import pytest

from ha.core.engine_health import (
    NO_START,
    Heard,
    Start,
    StartPhase,
    hear,
    judge,
    needs_health_page,
    overlay,
    settle,
)
from ha.core.facts import EngineStatus, Health, Monotonic, Vm, engine_status
from ha.core.sighting import StopReason, VmSighting, VmState
from tests.ha.core.worlds import ABSENT, ENGINES, GOOD, KILLED, MISSING, UNKNOWN

LOCKED = "Storage of VM is locked. Is another host already starting the VM?"


@pytest.mark.parametrize(
    ("last", "sighting", "vm", "reason"),
    [
        (Vm.DOWN, VmSighting(VmState.MISSING), Vm.DOWN, "vm not running on this host"),
        (Vm.UP, VmSighting(VmState.MISSING), Vm.DOWN_MISSING, "vm not running on this host"),
        (Vm.DOWN_UNEXPECTED, VmSighting(VmState.MISSING), Vm.DOWN_UNEXPECTED,
         "vm not running on this host"),
        (Vm.UP, VmSighting(VmState.DOWN, StopReason.LOCKED), Vm.DOWN, LOCKED),
        (Vm.UP, VmSighting(VmState.DOWN, StopReason.MIGRATED), Vm.DOWN,
         "VM migrated away successfully"),
        (Vm.UP, VmSighting(VmState.DOWN, StopReason.FAILED), Vm.DOWN_UNEXPECTED, "bad vm status"),
        (Vm.UP, VmSighting(VmState.DOWN, StopReason.SHUTDOWN), Vm.DOWN_UNEXPECTED,
         "bad vm status"),
        (Vm.DOWN, VmSighting(VmState.DOWN, StopReason.FAILED), Vm.DOWN, "bad vm status"),
        (Vm.DOWN_MISSING, VmSighting(VmState.DOWN), Vm.DOWN_UNEXPECTED, "bad vm status"),
        (Vm.DOWN, VmSighting(VmState.MIGRATION_DESTINATION), Vm.DOWN, "bad vm status"),
        (Vm.DOWN, VmSighting(VmState.PAUSED), Vm.UP, "bad vm status"),
        (Vm.DOWN, VmSighting(VmState.WAIT_FOR_LAUNCH), Vm.UP, "bad vm status"),
    ],
)  # fmt: skip
def test_without_the_health_page(last: Vm, sighting: VmSighting, vm: Vm, reason: str) -> None:
    assert not needs_health_page(sighting)
    remembered, status = judge(last, sighting, health_page_ok=True)
    assert remembered is vm
    assert (status.vm, status.health, status.reason) == (vm, Health.BAD, reason)


@pytest.mark.parametrize("state", [VmState.UP, VmState.POWERING_DOWN, VmState.MIGRATION_SOURCE])
def test_the_health_page_decides(state: VmState) -> None:
    sighting = VmSighting(state)
    assert needs_health_page(sighting)
    good = EngineStatus(Vm.UP, Health.GOOD, state.value)
    bad = EngineStatus(Vm.UP, Health.BAD, state.value, "failed liveliness check")
    assert judge(Vm.DOWN, sighting, health_page_ok=True) == (Vm.UP, good)
    assert judge(Vm.DOWN, sighting, health_page_ok=False) == (Vm.UP, bad)


@pytest.mark.parametrize("last", Vm)
def test_no_answer_is_unknown_and_forgets_nothing(last: Vm) -> None:
    assert judge(last, VmSighting(VmState.UNKNOWN), health_page_ok=True) == (last, UNKNOWN)


@pytest.mark.parametrize("phase", StartPhase)
def test_a_start_never_hides_a_vm_that_is_up(phase: StartPhase) -> None:
    assert overlay(GOOD, Start(phase, Monotonic(0)), Monotonic(5)) == GOOD


@pytest.mark.parametrize("phase", [p for p in StartPhase if p is not StartPhase.RUNNING])
def test_a_start_that_is_over_never_hides_that_nothing_is_known(phase: StartPhase) -> None:
    assert overlay(UNKNOWN, Start(phase, Monotonic(0)), Monotonic(5)) == UNKNOWN


def test_a_start_that_waits_for_the_lease_is_known_when_libvirt_tells_nothing() -> None:
    found = overlay(UNKNOWN, Start(StartPhase.RUNNING, Monotonic(0)), Monotonic(100))
    assert (found.vm, found.detail) == (Vm.UP, "WaitForLaunch")


@pytest.mark.parametrize("status", [ABSENT, KILLED, MISSING])
@pytest.mark.parametrize(
    ("phase", "age", "vm", "detail"),
    [
        (StartPhase.RUNNING, 500, Vm.UP, "WaitForLaunch"),
        (StartPhase.STARTED, 20, Vm.UP, "WaitForLaunch"),
        (StartPhase.LOCKED, 500, Vm.DOWN, "Down"),
        (StartPhase.FAILED, 500, Vm.DOWN_UNEXPECTED, "Down"),
    ],
)
def test_a_start_shows_until_the_monitor_knows(
    status: EngineStatus, phase: StartPhase, age: int, vm: Vm, detail: str
) -> None:
    found = overlay(status, Start(phase, Monotonic(0)), Monotonic(age))
    assert (found.vm, found.detail) == (vm, detail)


@pytest.mark.parametrize("status", [ABSENT, KILLED, MISSING])
def test_a_start_long_over_or_none_shows_nothing(status: EngineStatus) -> None:
    assert overlay(status, NO_START, Monotonic(5)) == status
    assert overlay(status, Start(StartPhase.STARTED, Monotonic(0)), Monotonic(21)) == status


def test_a_running_start_is_never_forgotten() -> None:
    running = Start(StartPhase.RUNNING, Monotonic(0))
    assert settle(running, GOOD, Monotonic(1000)) == running
    locked = Start(StartPhase.LOCKED, Monotonic(0))
    assert settle(locked, GOOD, Monotonic(20)) == locked
    assert settle(locked, ABSENT, Monotonic(1000)) == locked
    assert settle(locked, GOOD, Monotonic(21)) == NO_START


def test_a_status_is_read_as_it_was_written() -> None:
    for status in (GOOD, ABSENT, KILLED, MISSING, UNKNOWN):
        assert engine_status(status.as_dict()) == status
    assert engine_status(None) is None
    assert engine_status({"health": "good"}) is None
    odd = engine_status({"vm": "flying", "health": "?"})
    assert odd == EngineStatus(Vm.UNKNOWN, Health.UNKNOWN, "unknown")


def test_what_was_heard_is_believed_over_a_monitor_that_still_sees_the_vm_up() -> None:
    """Over all that was heard and all that the monitor says: only an end of the VM is news."""
    for status, state, reason, age in product(ENGINES, VmState, (None, *StopReason), (0, 30, 31)):
        heard = Heard(VmSighting(state, reason), Monotonic(100))
        told = hear(status, heard, Monotonic(100 + age))
        if status.vm is Vm.UP and state is VmState.DOWN and age <= 30:
            assert told == judge(Vm.UP, heard.sighting, health_page_ok=False)[1]
            assert told.vm is not Vm.UP
        else:
            assert told == status
    assert hear(GOOD, None, Monotonic(100)) == GOOD


def test_a_killed_vm_is_unexpectedly_down_and_one_that_moved_is_not() -> None:
    def told(reason: StopReason) -> Vm:
        heard = Heard(VmSighting(VmState.DOWN, reason), Monotonic(100))
        return hear(GOOD, heard, Monotonic(100)).vm

    assert told(StopReason.FAILED) is Vm.DOWN_UNEXPECTED
    assert told(StopReason.MIGRATED) is Vm.DOWN


@pytest.mark.parametrize("phase", StartPhase)
def test_whoever_loses_a_race_is_only_locked_out_whatever_its_start_says(phase: StartPhase) -> None:
    """The words of a refusal change with every version of libvirt and QEMU, the lease does not."""
    start = Start(phase, Monotonic(100))
    elsewhere = overlay(KILLED, start, Monotonic(101), lease_elsewhere=True)
    alone = overlay(KILLED, start, Monotonic(101))
    if phase is StartPhase.FAILED:
        assert (elsewhere.vm, elsewhere.reason) == (Vm.DOWN, LOCKED)
        assert alone.vm is Vm.DOWN_UNEXPECTED
    else:
        assert elsewhere == alone


def test_a_started_vm_that_has_gone_is_not_taken_for_one_that_is_coming_up() -> None:
    """Over all phases, events and ages: only an end that was heard after the start is one."""
    for phase, state, reason, age in product(StartPhase, VmState, (None, *StopReason), (-1, 0, 5)):
        start = Start(phase, Monotonic(100))
        heard = Heard(VmSighting(state, reason), Monotonic(100 + age))
        settled = settle(start, KILLED, Monotonic(110), heard)
        if phase is StartPhase.STARTED and state is VmState.DOWN and age >= 0:
            moved = reason is StopReason.MIGRATED
            assert settled == (NO_START if moved else Start(StartPhase.FAILED, Monotonic(110)))
            told = overlay(hear(GOOD, heard, Monotonic(110)), settled, Monotonic(110))
            assert told.vm is (Vm.DOWN if moved else Vm.DOWN_UNEXPECTED)
        else:
            assert settled == start
