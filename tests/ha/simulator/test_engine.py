"""The engine VM on a simulated host: when it boots, answers and ends, and what its lease does."""

from collections.abc import Iterator

import pytest

from ha.core.sighting import StopReason, VmSighting, VmState
from ha.env.ports import VmLocked, VmMissing, VmStartFailed
from ha.simulator.engine import KILL_GRACE_SECONDS, PREPARE_SECONDS, SHUTDOWN_SECONDS, Start
from ha.simulator.engine_vm_sim import SimEngineVm
from ha.simulator.processes import Boot, Killed, Process
from tests.ha.simulator.virtual import Bench, VirtualLibvirt

BOOT_SECONDS, HEALTH_SECONDS = 40.0, 60.0  # the bench's
FAR_SECONDS = 300.0


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(io_seconds=1.0)
    yield bench
    bench.schedule.close()


@pytest.fixture
def here(bench: Bench) -> VirtualLibvirt:
    return VirtualLibvirt(bench)


def started(here: VirtualLibvirt, *, paused: bool = False) -> Start:
    """Start the VM, and wait until it runs."""
    start = here.libvirt.create(paused=paused)
    here.run(PREPARE_SECONDS + 0.1)
    assert (start.over.is_set(), start.refusal) == (True, None)
    return start


def listen(here: VirtualLibvirt) -> list[VmSighting]:
    seen: list[VmSighting] = []
    here.libvirt.listeners.append(seen.append)
    return seen


def down(reason: StopReason) -> VmSighting:
    return VmSighting(VmState.DOWN, reason)


def test_it_runs_then_answers_then_is_well(here: VirtualLibvirt) -> None:
    seen = listen(here)
    started(here)
    vm = here.libvirt.vm
    assert vm is not None
    assert here.libvirt.running
    assert (vm.answers, vm.healthy) == (False, False)
    here.run(BOOT_SECONDS)
    assert (vm.answers, vm.healthy) == (True, False)
    here.run(HEALTH_SECONDS)
    assert (vm.answers, vm.healthy) == (True, True)
    assert here.told == ["0.5 runs", "100.5 the engine answers"]
    assert seen == [VmSighting(VmState.UP)]
    assert here.bench.engine.lease.owner == here.host_id


def test_a_broken_engine_boots_and_never_answers(here: VirtualLibvirt) -> None:
    here.bench.engine.broken = True
    started(here)
    here.run(FAR_SECONDS)
    assert here.told == ["0.5 runs"]


def test_one_that_ended_while_it_booted_does_not_come_to_answer(here: VirtualLibvirt) -> None:
    started(here)
    first = here.libvirt.vm
    here.run(BOOT_SECONDS / 2)
    here.libvirt.end(StopReason.DESTROYED)
    started(here)
    second = here.libvirt.vm
    assert first is not None
    assert second is not None
    here.run(BOOT_SECONDS / 2 + 5)  # the first would answer now
    assert (first.answers, second.answers) == (False, False)
    assert second.number == first.number + 1
    here.run(FAR_SECONDS)
    assert [line.split(maxsplit=1)[1] for line in here.told] == [
        *("runs", "stopped: destroyed", "runs", "the engine answers"),
    ]


def test_one_that_is_started_paused_does_not_run(here: VirtualLibvirt) -> None:
    seen = listen(here)
    started(here, paused=True)
    assert not here.libvirt.running
    assert seen == [VmSighting(VmState.PAUSED)]
    assert here.told == ["0.5 paused"]


def test_it_shuts_down_when_it_is_asked_to_and_gives_its_lease_back(here: VirtualLibvirt) -> None:
    seen = listen(here)
    started(here)
    here.libvirt.press_power_button()
    here.run(SHUTDOWN_SECONDS - 0.5)
    assert here.libvirt.running
    here.libvirt.press_power_button()  # a second time changes nothing
    here.run(1)
    assert here.libvirt.vm is None
    assert seen == [
        VmSighting(VmState.UP),
        VmSighting(VmState.POWERING_DOWN),
        down(StopReason.SHUTDOWN),
    ]
    assert here.bench.engine.lease.owner == 0
    with pytest.raises(VmMissing):
        here.libvirt.press_power_button()


def test_a_shutdown_that_the_power_overtakes_ends_nothing_that_comes_later(
    here: VirtualLibvirt,
) -> None:
    started(here)
    here.libvirt.press_power_button()
    here.libvirt.end(StopReason.DESTROYED)
    started(here)
    here.run(2 * SHUTDOWN_SECONDS)
    assert here.libvirt.running


def test_one_that_is_deaf_or_paused_does_not_hear_its_power_button(here: VirtualLibvirt) -> None:
    started(here)
    vm = here.libvirt.vm
    assert vm is not None
    vm.hangs = True
    here.libvirt.press_power_button()
    vm.hangs, vm.state = False, VmState.PAUSED
    here.libvirt.press_power_button()
    here.run(2 * SHUTDOWN_SECONDS)
    assert here.libvirt.vm is vm


def test_one_that_vanishes_is_told_to_nobody_and_holds_nothing(here: VirtualLibvirt) -> None:
    started(here)
    seen = listen(here)
    here.libvirt.vanish()
    assert seen == []
    assert here.libvirt.vm is None
    assert here.bench.engine.lease.owner == 0


@pytest.mark.parametrize(
    ("renewing", "seconds"),
    [(True, 3.0), (False, 8 * 1.0 + 60.0 + 5.0)],
    ids=["a-live-one", "a-dead-one"],
)
def test_a_start_waits_while_the_leases_owner_only_looks_dead(
    here: VirtualLibvirt, renewing: bool, seconds: float
) -> None:
    here.let_another_hold_it(renewing=renewing)
    start = here.libvirt.create(paused=False)
    here.run(PREPARE_SECONDS + 0.1)
    assert not start.over.is_set()
    here.run(seconds)
    assert start.over.is_set()
    assert isinstance(start.refusal, VmLocked) is renewing
    assert here.libvirt.running is not renewing


def test_a_start_that_is_cut_while_it_waits_gets_no_lease(here: VirtualLibvirt) -> None:
    here.let_another_hold_it(renewing=False)
    start = here.libvirt.create(paused=False)
    here.run(5)
    start.cut = True
    here.run(100)
    assert isinstance(start.refusal, VmLocked)
    assert here.libvirt.vm is None
    assert here.bench.engine.lease.owner == 0


def test_a_start_without_a_lockspace_or_with_a_bad_emulator_fails(here: VirtualLibvirt) -> None:
    here.libvirt.start_fails = True
    failing = here.libvirt.create(paused=False)
    here.run(1)
    here.libvirt.start_fails = False
    here.sanlock.leave(here.bench.area, here.host_id)
    alone = here.libvirt.create(paused=False)
    here.run(1)
    for start in (failing, alone):
        assert type(start.refusal) is VmStartFailed
    assert here.libvirt.starting is None


def test_a_start_waits_for_the_storage(here: VirtualLibvirt) -> None:
    here.bench.paths["host1"].lose()
    start = here.libvirt.create(paused=False)
    here.run(3)
    assert not start.over.is_set()
    here.bench.paths["host1"].restore()
    here.run(2)
    assert here.libvirt.running


def test_a_lost_lease_ends_it_at_once_or_after_a_while_without_storage(
    here: VirtualLibvirt,
) -> None:
    started(here)
    here.libvirt.lease_lost()
    assert not here.libvirt.running
    started(here)
    here.bench.paths["host1"].lose()
    here.libvirt.lease_lost()
    here.run(KILL_GRACE_SECONDS - 1)
    assert here.libvirt.running
    here.run(2)
    assert not here.libvirt.running


def test_a_silent_libvirt_tells_once_and_then_what_it_has(here: VirtualLibvirt) -> None:
    seen = listen(here)
    here.libvirt.fall_silent()
    here.libvirt.appear()
    here.libvirt.answer_again()
    assert seen == [VmSighting(VmState.UNKNOWN), VmSighting(VmState.UP)]


def test_a_dead_process_asks_libvirt_for_nothing(here: VirtualLibvirt) -> None:
    started(here)
    process, refused = Process("ovirt-ha-agent", "host1", Boot()), list[str]()
    port = SimEngineVm(here.schedule, here.libvirt, process)
    acts = {"start": lambda: port.start(""), "shutdown": port.shutdown, "cut": port.power_off}

    def run() -> None:
        try:
            here.schedule.sleep(100)
        finally:
            for name, act in acts.items():
                with pytest.raises(Killed):
                    act()
                refused.append(name)

    here.schedule.spawn(process, "test", run)
    here.run(1)
    here.schedule.kill(process)
    here.run(10)
    assert refused == list(acts)
    assert (here.asked, here.libvirt.running) == ([], True)
