"""What hangs in libvirt or QEMU costs a turn a moment, and ends as a start or stop that failed."""

import threading

import pytest

from ha.core.actions import Action
from ha.core.engine_health import StartPhase
from ha.core.facts import UNKNOWN_ENGINE, EngineStatus, Health, Vm
from ha.env.ports import VmBusy, VmTrouble
from ha.execute import HUNG_START_SECONDS
from tests.ha.start_bench import Bench, SlowStart

MISSING = EngineStatus(Vm.DOWN, Health.BAD, "unknown")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ha.execute.START_GRACE_SECONDS", 0.05)
    monkeypatch.setattr("ha.execute.END_GRACE_SECONDS", 0.05)
    monkeypatch.setattr("ha.execute.SHUTDOWN_SECONDS", 0.05)


def hanging(bench: Bench, *, ends_when_cut: bool) -> SlowStart:
    """Begin a start that hangs, and let the agent lose its patience."""
    slow = SlowStart(bench)
    slow.ends_when_cut = ends_when_cut
    bench.executor.perform(Action.START_VM)
    slow.begun.get(timeout=10)
    assert bench.executor.perform(Action.SHUTDOWN_VM) is True
    return slow


def test_a_shutdown_that_hangs_is_taken_for_one_that_was_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    over = threading.Event()
    pressed: list[None] = []

    def shutdown() -> None:
        pressed.append(None)
        assert over.wait(10)
        raise VmTrouble("the first one's answer, too late")

    bench.vm.shutdown = shutdown  # type: ignore[method-assign]
    assert bench.executor.perform(Action.SHUTDOWN_VM) is True
    assert "does not react" in caplog.text
    assert bench.executor.perform(Action.POWEROFF_VM) is True
    over.set()
    bench.vm.shutdown = lambda: pressed.append(None)  # type: ignore[method-assign]
    assert bench.executor.perform(Action.SHUTDOWN_VM) is True
    assert len(pressed) == 2


def test_so_is_one_that_libvirt_gave_up(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.vm.trouble["shutdown"] = VmBusy("cannot acquire state change lock")
    assert bench.executor.perform(Action.SHUTDOWN_VM) is True
    assert "cannot acquire state change lock" in caplog.text


@pytest.mark.parametrize("ends_when_cut", [True, False])
def test_a_start_that_takes_too_long_has_failed(ends_when_cut: bool) -> None:
    bench = Bench()
    slow = hanging(bench, ends_when_cut=ends_when_cut)
    assert slow.cuts == 1
    assert bench.executor.start.phase is StartPhase.FAILED
    bench.executor.settle(MISSING)
    assert bench.executor.engine.vm is Vm.DOWN_UNEXPECTED
    slow.over.set()


def test_that_libvirt_does_not_answer_because_of_it_hides_nothing() -> None:
    bench = Bench()
    slow = hanging(bench, ends_when_cut=False)
    bench.executor.settle(UNKNOWN_ENGINE)
    assert bench.executor.engine.vm is Vm.DOWN_UNEXPECTED
    slow.over.set()
    bench.rings.get(timeout=10)
    assert bench.executor.engine.vm is Vm.UNKNOWN


def test_no_other_start_is_made_before_it_has_come_back_and_some_time_has_passed() -> None:
    bench = Bench()
    slow = hanging(bench, ends_when_cut=False)
    bench.now += HUNG_START_SECONDS
    assert bench.executor.perform(Action.START_VM) is False
    slow.trouble = VmTrouble("stale file handle")
    slow.over.set()
    bench.rings.get(timeout=10)
    assert bench.executor.start.phase is StartPhase.FAILED
    assert bench.executor.perform(Action.START_VM) is True


def test_one_that_was_ended_is_not_tried_again_at_once() -> None:
    bench = Bench()
    hanging(bench, ends_when_cut=True)
    bench.rings.get(timeout=10)
    assert bench.executor.start.phase is StartPhase.FAILED
    bench.now += HUNG_START_SECONDS - 1
    assert bench.executor.perform(Action.START_VM) is False
    bench.now += 1
    assert bench.executor.perform(Action.START_VM) is True


def test_one_that_succeeds_while_it_is_given_up_is_shut_down() -> None:
    bench = Bench()
    slow = SlowStart(bench)

    def too_late(**_: bool) -> None:
        slow.over.set()
        bench.rings.get(timeout=10)

    bench.vm.power_off = too_late  # type: ignore[method-assign]
    bench.executor.perform(Action.START_VM)
    slow.begun.get(timeout=10)
    assert bench.executor.perform(Action.SHUTDOWN_VM) is True
    assert bench.executor.start.phase is StartPhase.STARTED
    assert bench.vm.calls == ["shutdown"]


def test_one_that_hangs_for_good_keeps_the_agent_from_saying_that_it_has_stopped() -> None:
    bench = Bench()
    slow = hanging(bench, ends_when_cut=False)
    assert bench.executor.give_up_start() is False
    slow.ends_when_cut = True
    assert bench.executor.give_up_start() is True


def test_a_start_behind_one_that_does_not_come_back_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ha.execute.FORMER_START_SECONDS", 0.05)
    bench = Bench()
    slow = SlowStart(bench)
    bench.executor.perform(Action.START_VM)
    slow.begun.get(timeout=10)
    bench.vm.power_off = lambda **_: None  # type: ignore[method-assign]
    bench.executor.end_start()
    assert bench.start() is StartPhase.FAILED
    assert "libvirt is still at its former start" in caplog.text
    assert slow.begun.empty()
    slow.over.set()


@pytest.mark.parametrize("end", ["give_up_start", "end_start"])
def test_a_start_that_succeeds_before_its_power_is_cut_is_told_as_started(end: str) -> None:
    bench = Bench()
    slow = SlowStart(bench)

    def too_late(**_: bool) -> None:
        slow.over.set()
        bench.rings.get(timeout=10)

    bench.vm.power_off = too_late  # type: ignore[method-assign]
    bench.executor.perform(Action.START_VM)
    slow.begun.get(timeout=10)
    getattr(bench.executor, end)()
    assert bench.executor.start.phase is StartPhase.STARTED
    bench.executor.settle(MISSING)
    assert bench.executor.engine.vm is Vm.UP
