"""An engine VM to be held to its contract: on libvirt's test driver, and on the simulator."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import libvirt
import pytest

from ha.core.sighting import VmSighting, VmState
from ha.env import engine_vm_link
from ha.env.engine_vm import LibvirtEngineVm
from ha.env.ports import EngineVm, VmTrouble
from ha.simulator.engine_vm_sim import SimEngineVm
from ha.simulator.processes import Boot, Process
from tests.ha.simulator.virtual import Virtual, VirtualLibvirt

XML = """<domain type='test'><name>HostedEngine</name><memory unit='MiB'>64</memory>
<os><type>hvm</type></os></domain>"""
IMPATIENT_SECONDS = 10.0
REFUSALS = {
    "locked": "Failed to acquire lock: Lease is held by another host",
    "failed": "internal error: the emulator ended at once",
}


class Rig(Protocol):
    """The VM's port, and what a test does behind it."""

    vm: EngineVm

    def settle(self) -> None:
        """Let what is under way end, and be told."""

    def suspend(self) -> None:
        """Have the VM be paused."""

    def refuse(self, why: str) -> None:
        """Have the next start fail for this reason, of REFUSALS."""

    def restart_libvirt(self) -> None:
        """Have libvirt go, and come back."""

    def begin(self, *, behind: bool = False) -> Callable[[], list[VmTrouble | None]]:
        """Begin a start that waits for the lease; what is returned gives its end, once there is.

        `behind`: what waits is the start of a former process, and this one waits for that.
        """


class LibvirtRig:
    """On libvirt's test driver, with a `createXML` that does what the driver cannot."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.vm = on_test_driver(folder)
        self.vm.sighting()
        self._link = self.vm._link
        self._patch = monkeypatch
        self._over = threading.Event()
        self._asked = threading.Event()

    def settle(self) -> None:
        time.sleep(0.2)  # events come from libvirt's thread, in order

    def suspend(self) -> None:
        self._link.connection.lookupByName("HostedEngine").suspend()
        self.settle()

    def refuse(self, why: str) -> None:
        def create(*_: object) -> None:
            raise libvirt.libvirtError(REFUSALS[why])

        self._patch.setattr(self._link.connection, "createXML", create)

    def restart_libvirt(self) -> None:
        self.settle()
        self._patch.setattr(engine_vm_link, "RETURN_PAUSE_SECONDS", 0.01)
        self._link._closed()
        self.settle()

    def begin(self, *, behind: bool = False) -> Callable[[], list[VmTrouble | None]]:
        ended: list[VmTrouble | None] = []
        thread = threading.Thread(target=lambda: ended.append(tried(lambda: self.vm.start(XML))))
        if behind:
            self._patch.setattr(self.vm, "sighting", self._look)
        else:
            self._patch.setattr(self._link.connection, "createXML", self._create)
        self._patch.setattr(self.vm._emulator, "kill", self._kill)
        thread.start()
        assert self._asked.wait(IMPATIENT_SECONDS)

        def end() -> list[VmTrouble | None]:
            thread.join(IMPATIENT_SECONDS)
            return ended

        return end

    def _look(self) -> VmSighting:
        """libvirt answers when the former start is over."""
        self._asked.set()
        assert self._over.wait(IMPATIENT_SECONDS)
        self._patch.undo()
        return self.vm.sighting()

    def _create(self, *_: object) -> None:
        self._asked.set()
        assert self._over.wait(IMPATIENT_SECONDS)
        raise libvirt.libvirtError(REFUSALS["locked"])

    def _kill(self, _limit_seconds: float) -> bool:
        first = not self._over.is_set()
        self._over.set()
        return first


class SimulatedRig:
    """On the simulator's libvirt."""

    def __init__(self) -> None:
        self._virtual = VirtualLibvirt()
        self._schedule, self._libvirt = self._virtual.schedule, self._virtual.libvirt
        self._process = Process("ovirt-ha-agent", "host1", Boot())
        self._port = SimEngineVm(self._schedule, self._libvirt, self._process)
        self.vm: Any = Virtual(self._schedule, self._port)

    def settle(self) -> None:
        self._virtual.run(10)

    def suspend(self) -> None:
        vm = self._libvirt.vm
        assert vm is not None
        vm.state = VmState.PAUSED
        self._libvirt.tell(VmSighting(vm.state))

    def refuse(self, why: str) -> None:
        if why == "locked":
            self._virtual.let_another_hold_it(renewing=True)
        self._libvirt.start_fails = why == "failed"

    def restart_libvirt(self) -> None:
        self._libvirt.fall_silent()
        self._virtual.run(1)
        self._libvirt.answer_again()
        self._virtual.run(1)

    def begin(self, *, behind: bool = False) -> Callable[[], list[VmTrouble | None]]:
        ended: list[VmTrouble | None] = []
        self._virtual.let_another_hold_it(renewing=False)
        if behind:
            self._libvirt.create(paused=False)
            self._virtual.run(2)
        self._schedule.spawn(
            self._process,
            "start",
            lambda: ended.append(tried(lambda: self._port.start(XML))),
        )
        self._virtual.run(2)
        assert ended == []

        def end() -> list[VmTrouble | None]:
            self._virtual.run(200)
            return ended

        return end

    def close(self) -> None:
        """End what runs."""
        self._schedule.close()


def on_test_driver(folder: Path) -> LibvirtEngineVm:
    """An engine VM on a libvirt of the test's own: `test:///default` is shared by all connections.

    That libvirt says that it takes leases; the test driver has none.
    """
    node, qemu_conf = folder / "node.xml", folder / "qemu.conf"
    node.write_text("<node/>")
    qemu_conf.write_text('user = "root"\nlock_manager = "sanlock"\n')
    return LibvirtEngineVm(f"test://{node}", qemu_conf=qemu_conf)


def tried(call: Callable[[], object]) -> VmTrouble | None:
    """Make a call; return what trouble it has."""
    try:
        call()
    except VmTrouble as trouble:
        return trouble
    return None
