"""The engine VM that moves from one simulated host to another."""

from collections.abc import Iterator

import pytest

from ha.core.sighting import StopReason, VmSighting, VmState
from tests.ha.simulator.virtual import Bench, VirtualLibvirt

START_SECONDS = 1.0
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


def started(here: VirtualLibvirt) -> None:
    """Start the VM, and wait until it runs."""
    here.libvirt.create(paused=False)
    here.run(START_SECONDS)
    assert here.libvirt.running


def listen(here: VirtualLibvirt) -> list[VmSighting]:
    seen: list[VmSighting] = []
    here.libvirt.listeners.append(seen.append)
    return seen


def down(reason: StopReason) -> VmSighting:
    return VmSighting(VmState.DOWN, reason)


def test_it_moves_with_its_lease_and_does_not_boot(bench: Bench, here: VirtualLibvirt) -> None:
    there = VirtualLibvirt(bench, "host2", 2)
    left, arrived = listen(here), listen(there)
    started(here)
    vm = here.libvirt.vm
    assert vm is not None
    here.run(BOOT_SECONDS)
    here.libvirt.leave_to(there.libvirt)
    assert (here.libvirt.vm, there.libvirt.vm) == (None, vm)
    assert vm.answers
    assert bench.engine.lease.owner == 2
    assert left == [VmSighting(VmState.UP), down(StopReason.MIGRATED)]
    assert arrived == [VmSighting(VmState.UP)]
    there.libvirt.leave_to(here.libvirt)
    assert bench.engine.lease.owner == 1
    here.libvirt.end(StopReason.DESTROYED)
    assert bench.engine.lease.owner == 0


def test_one_that_moves_while_it_boots_boots_on_where_it_is(
    bench: Bench, here: VirtualLibvirt
) -> None:
    there = VirtualLibvirt(bench, "host2", 2)
    here.told.clear()
    started(here)
    ready_at = bench.schedule.now + BOOT_SECONDS + HEALTH_SECONDS
    for source, target in ((here, there), (there, here), (here, there)):
        here.run(BOOT_SECONDS / 2 + 5)
        source.libvirt.leave_to(target.libvirt)
    bench.power_off("host1")  # it has nothing to do with it any more
    vm = there.libvirt.vm
    assert vm is not None
    assert vm.answers
    bench.schedule.run_until(ready_at - 1)
    assert not vm.healthy
    here.run(FAR_SECONDS)
    assert vm.healthy
    told = [line.split(maxsplit=1)[1] for line in (*here.told, *there.told)]
    assert told.count("the engine answers") == 1


def test_without_a_vm_nothing_moves_and_nothing_ends(bench: Bench, here: VirtualLibvirt) -> None:
    there = VirtualLibvirt(bench, "host2", 2)
    here.libvirt.leave_to(there.libvirt)
    here.libvirt.end(StopReason.DESTROYED)
    here.libvirt.vanish()
    assert (here.told, there.told) == ([], [])
