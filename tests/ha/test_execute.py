import queue

import pytest

from ha.core.actions import Action
from ha.core.engine_health import StartPhase
from ha.core.facts import EngineStatus, Health, Vm
from ha.env.ports import (
    EnvError,
    VmAlreadyRuns,
    VmLocked,
    VmMissing,
    VmStartFailed,
    VmTrouble,
    VmUnreachable,
)
from tests.ha.start_bench import Bench


@pytest.mark.parametrize(
    ("trouble", "phase"),
    [
        (None, StartPhase.STARTED),
        (VmAlreadyRuns("Up"), StartPhase.STARTED),
        (VmLocked("-243"), StartPhase.LOCKED),
        (VmStartFailed("no memory"), StartPhase.FAILED),
        (VmUnreachable("no libvirt"), StartPhase.FAILED),
    ],
)
def test_how_a_start_ends_is_kept(trouble: EnvError | None, phase: StartPhase) -> None:
    bench = Bench()
    if trouble is not None:
        bench.vm.trouble["start"] = trouble
    assert bench.start() is phase


def test_a_start_under_way_is_not_started_twice() -> None:
    bench = Bench()
    release: queue.SimpleQueue[None] = queue.SimpleQueue()
    started: list[str] = []

    def slow(xml: str) -> None:
        started.append(xml)
        release.get(timeout=10)

    bench.vm.start = slow  # type: ignore[method-assign]
    assert bench.executor.perform(Action.START_VM)
    assert bench.executor.start.phase is StartPhase.RUNNING
    assert bench.executor.perform(Action.START_VM)
    release.put(None)
    bench.rings.get(timeout=10)
    assert len(started) == 1


def test_without_a_definition_no_start_is_made() -> None:
    bench = Bench()
    bench.files.xml = None
    assert bench.executor.perform(Action.START_VM) is False
    assert bench.executor.start.phase is StartPhase.NONE
    assert bench.vm.calls == []


@pytest.mark.parametrize(
    ("action", "call", "trouble", "succeeds"),
    [
        (Action.SHUTDOWN_VM, "shutdown", None, True),
        (Action.SHUTDOWN_VM, "shutdown", VmMissing("gone"), False),
        (Action.SHUTDOWN_VM, "shutdown", VmTrouble("no"), False),
        (Action.POWEROFF_VM, "power_off", None, True),
        (Action.POWEROFF_VM, "power_off", VmMissing("gone"), True),
        (Action.POWEROFF_VM, "power_off", VmUnreachable("no"), False),
    ],
)
def test_stopping(action: Action, call: str, trouble: EnvError | None, succeeds: bool) -> None:
    bench = Bench()
    if trouble is not None:
        bench.vm.trouble[call] = trouble
    assert bench.executor.perform(action) is succeeds
    assert bench.vm.calls == [call]


def test_an_ended_start_is_forgotten_once_the_vm_was_up_for_long() -> None:
    bench = Bench()
    bench.vm.trouble["start"] = VmLocked("-243")
    bench.start()
    up = EngineStatus(Vm.UP, Health.GOOD, "Up")
    bench.now += 5
    bench.executor.settle(up)
    assert bench.executor.start.phase is StartPhase.LOCKED
    bench.now += 60
    bench.executor.settle(up)
    assert bench.executor.start.phase is StartPhase.NONE
