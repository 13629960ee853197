"""How a start of the VM is ended that waits for its lease: by the agent's end, by maintenance."""

import threading

import pytest

from ha.core.actions import Action
from ha.core.engine_health import StartPhase
from ha.env.ports import EnvError, VmLocked, VmMissing, VmStartFailed, VmTrouble
from tests.ha.fakes import FakeEngineVm
from tests.ha.start_bench import Bench, SlowStart


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ha.execute.START_GRACE_SECONDS", 0.05)


def test_without_a_start_there_is_nothing_to_give_up() -> None:
    bench = Bench()
    assert bench.executor.give_up_start() is True
    assert bench.start() is StartPhase.STARTED
    assert bench.executor.give_up_start() is True
    assert bench.vm.calls == ["start <domain/>"]  # a VM that runs is left alone


def test_a_start_that_is_about_to_succeed_gets_a_moment() -> None:
    bench = Bench()
    slow = SlowStart(bench)
    bench.executor.perform(Action.START_VM)
    threading.Timer(0.2, slow.over.set).start()
    assert bench.executor.give_up_start() is True
    assert bench.executor.start.phase is StartPhase.STARTED
    assert slow.cuts == 0


@pytest.mark.usefixtures("no_grace")
def test_a_start_that_waits_is_ended() -> None:
    bench = Bench()
    slow = SlowStart(bench)
    bench.executor.perform(Action.START_VM)
    assert bench.executor.give_up_start() is True
    assert slow.cuts == 1
    assert bench.executor.start.phase is StartPhase.LOCKED


@pytest.mark.usefixtures("no_grace")
def test_a_start_that_ended_just_now_needs_no_end() -> None:
    bench = Bench()
    slow = SlowStart(bench)

    def gone(**_: bool) -> None:
        slow.over.set()
        raise VmMissing("there is no such VM")

    bench.vm.power_off = gone  # type: ignore[method-assign]
    bench.executor.perform(Action.START_VM)
    assert bench.executor.give_up_start() is True


@pytest.mark.usefixtures("no_grace")
def test_a_start_that_cannot_be_ended_is_told(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    slow = SlowStart(bench)

    def refuse(**_: bool) -> None:
        raise VmTrouble("no emulator is found")

    bench.vm.power_off = refuse  # type: ignore[method-assign]
    bench.executor.perform(Action.START_VM)
    assert bench.executor.give_up_start() is False
    assert "no emulator is found" in caplog.text
    slow.over.set()


def test_maintenance_ends_a_start_that_waits_and_the_next_start_is_made_when_it_has_come_back() -> (
    None
):
    bench = Bench()
    calls: list[str] = []
    waiting, over = threading.Event(), threading.Event()

    def start(xml: str) -> None:
        calls.append(f"start {xml}")
        if len(calls) == 1:
            waiting.set()
            assert over.wait(10)  # libvirt comes back only when sanlock does
            raise VmLocked("Failed to acquire lock")

    bench.vm.start = start  # type: ignore[method-assign]
    bench.executor.perform(Action.START_VM)
    assert waiting.wait(10)
    bench.executor.end_start()
    assert bench.vm.calls == ["power_off only_a_start"]
    assert bench.executor.start.phase is StartPhase.NONE
    bench.files.xml = "<again/>"
    assert bench.executor.perform(Action.START_VM)
    assert bench.executor.start.phase is StartPhase.RUNNING
    assert calls == ["start <domain/>"]
    over.set()
    for _ in range(2):
        bench.rings.get(timeout=10)
    assert calls == ["start <domain/>", "start <again/>"]
    assert bench.executor.start.phase is StartPhase.STARTED


def test_a_start_behind_one_that_was_ended_can_be_ended_too() -> None:
    bench = Bench()
    slow = SlowStart(bench)
    bench.executor.perform(Action.START_VM)
    slow.begun.get(timeout=10)
    bench.vm.power_off = lambda **_: None  # type: ignore[method-assign]
    bench.executor.end_start()
    bench.executor.perform(Action.START_VM)
    bench.executor.end_start()
    assert bench.executor.start.phase is StartPhase.NONE
    slow.over.set()
    for _ in range(2):
        bench.rings.get(timeout=10)
    assert slow.begun.empty()


@pytest.mark.parametrize("trouble", [None, VmLocked("-243"), VmStartFailed("no memory")])
def test_maintenance_leaves_a_start_that_has_ended_alone(trouble: EnvError | None) -> None:
    bench = Bench()
    bench.executor.end_start()
    if trouble is not None:
        bench.vm.trouble["start"] = trouble
    phase = bench.start()
    bench.executor.end_start()
    assert bench.executor.start.phase is phase
    assert bench.vm.calls == ["start <domain/>"]


@pytest.mark.usefixtures("no_grace")
def test_a_start_that_maintenance_cannot_end_is_still_under_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    slow = SlowStart(bench)
    bench.vm.trouble["power_off"] = VmTrouble("no emulator is found")
    bench.vm.power_off = FakeEngineVm.power_off.__get__(bench.vm)  # type: ignore[method-assign]
    bench.executor.perform(Action.START_VM)
    slow.begun.get(timeout=10)
    bench.executor.end_start()
    assert bench.executor.start.phase is StartPhase.RUNNING
    assert "no emulator is found" in caplog.text
    slow.over.set()
    bench.rings.get(timeout=10)
    assert bench.executor.start.phase is StartPhase.STARTED
