"""The engine VM's port: one contract for libvirt's test driver and for the simulator."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("libvirt", reason="libvirt's binding is missing")

from ha.core.sighting import StopReason, VmSighting, VmState  # noqa: E402  (needs the binding)
from ha.env.ports import (  # noqa: E402
    VmAlreadyRuns,
    VmLocked,
    VmMissing,
    VmStartFailed,
    VmTrouble,
)
from tests.ha.env.engine_vm_rigs import XML, LibvirtRig, Rig, SimulatedRig, tried  # noqa: E402

UP, MISSING = VmSighting(VmState.UP), VmSighting(VmState.MISSING)
DESTROYED = VmSighting(VmState.DOWN, StopReason.DESTROYED)
SHUT_DOWN = VmSighting(VmState.DOWN, StopReason.SHUTDOWN)


@pytest.fixture(params=["libvirt", "simulated"])
def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    if request.param == "libvirt":
        yield LibvirtRig(tmp_path, monkeypatch)
    else:
        simulated = SimulatedRig()
        yield simulated
        simulated.close()


def test_one_that_never_was_here_is_missing_and_nothing_can_be_done_to_it(rig: Rig) -> None:
    assert rig.vm.sighting() == MISSING
    for act in (rig.vm.shutdown, rig.vm.power_off):
        with pytest.raises(VmMissing, match="HostedEngine does not exist"):
            act()
    assert tried(lambda: rig.vm.power_off(only_a_start=True)) is None


def test_it_is_up_when_the_start_returns_and_off_when_the_power_is_cut(rig: Rig) -> None:
    rig.vm.start(XML)
    assert rig.vm.sighting() == UP
    rig.vm.power_off()
    assert rig.vm.sighting() == DESTROYED


def test_its_power_button_shuts_it_down(rig: Rig) -> None:
    rig.vm.start(XML)
    rig.vm.shutdown()
    rig.settle()
    assert rig.vm.sighting() == SHUT_DOWN


def test_one_that_was_started_again_forgets_how_it_stopped(rig: Rig) -> None:
    rig.vm.start(XML)
    rig.vm.power_off()
    rig.vm.start(XML)
    assert rig.vm.sighting() == UP
    rig.vm.shutdown()
    rig.settle()
    assert rig.vm.sighting() == SHUT_DOWN


def test_one_that_runs_is_not_started_again(rig: Rig) -> None:
    rig.vm.start(XML)
    with pytest.raises(VmAlreadyRuns, match="VM exists and its status is Up"):
        rig.vm.start(XML)
    assert rig.vm.sighting() == UP


def test_one_that_is_paused_is_replaced_but_not_to_be_paused_again(rig: Rig) -> None:
    rig.vm.start(XML)
    rig.suspend()
    assert rig.vm.sighting() == VmSighting(VmState.PAUSED)
    with pytest.raises(VmAlreadyRuns, match="Paused"):
        rig.vm.start(XML, paused=True)
    rig.vm.start(XML)
    assert rig.vm.sighting() == UP


def test_ending_a_start_leaves_one_that_runs_alone(rig: Rig) -> None:
    rig.vm.start(XML)
    rig.vm.power_off(only_a_start=True)
    assert rig.vm.sighting() == UP


@pytest.mark.parametrize(
    ("why", "error", "reason"),
    [
        ("locked", VmLocked, StopReason.LOCKED),
        ("failed", VmStartFailed, StopReason.FAILED),
    ],
)
def test_why_a_start_failed_is_raised_and_kept(
    rig: Rig, why: str, error: type[VmTrouble], reason: StopReason
) -> None:
    rig.refuse(why)
    assert type(tried(lambda: rig.vm.start(XML))) is error
    for _ in range(2):
        assert rig.vm.sighting() == VmSighting(VmState.DOWN, reason)


def test_changes_are_told_in_order(rig: Rig) -> None:
    told: list[VmSighting] = []
    rig.vm.watch(told.append)
    rig.vm.start(XML)
    rig.suspend()
    rig.vm.power_off()
    rig.settle()
    assert told == [UP, VmSighting(VmState.PAUSED), DESTROYED]


def test_libvirt_that_goes_and_comes_back_is_told_with_what_it_has(rig: Rig) -> None:
    told: list[VmSighting] = []
    rig.vm.watch(told.append)
    rig.restart_libvirt()
    rig.vm.start(XML)
    rig.restart_libvirt()
    unknown = VmSighting(VmState.UNKNOWN)
    assert told == [unknown, MISSING, UP, unknown, UP]


def test_how_it_stopped_is_kept_while_libvirt_goes_and_comes_back(rig: Rig) -> None:
    told: list[VmSighting] = []
    rig.vm.watch(told.append)
    rig.vm.start(XML)
    rig.vm.power_off()
    rig.restart_libvirt()
    assert told == [UP, DESTROYED, VmSighting(VmState.UNKNOWN), DESTROYED]
    assert rig.vm.sighting() == DESTROYED


def test_the_power_of_one_that_waits_for_its_lease_can_be_cut(rig: Rig) -> None:
    end = rig.begin()
    rig.vm.power_off()
    [trouble] = end()
    assert isinstance(trouble, VmLocked)
    with pytest.raises(VmMissing):
        rig.vm.power_off()


def test_the_power_button_of_one_that_waits_for_its_lease_does_nothing(rig: Rig) -> None:
    end = rig.begin()
    with pytest.raises(VmTrouble, match="is still being started"):
        rig.vm.shutdown()
    rig.vm.power_off(only_a_start=True)
    assert len(end()) == 1


def test_a_start_behind_one_that_was_cut_is_not_made_any_more(rig: Rig) -> None:
    """As after a crash of an agent: libvirt goes on with its start, and the next agent waits."""
    end = rig.begin(behind=True)
    rig.vm.power_off(only_a_start=True)
    [trouble] = end()
    assert type(trouble) is VmStartFailed
    assert rig.vm.sighting() == MISSING
