"""A start that waits for the lease: libvirt answers nothing, and yet the start can be ended."""

import threading
import time
from pathlib import Path

import pytest

libvirt = pytest.importorskip("libvirt", reason="libvirt's binding is missing")

from ha.core.sighting import VmSighting, VmState  # noqa: E402  (needs the binding)
from ha.env.engine_vm import LibvirtEngineVm  # noqa: E402
from ha.env.ports import VmLocked, VmMissing, VmStartFailed, VmTrouble  # noqa: E402
from tests.ha.env.engine_vm_rigs import on_test_driver  # noqa: E402

XML = """<domain type='test'><name>HostedEngine</name><memory unit='MiB'>64</memory>
<os><type>hvm</type></os></domain>"""


@pytest.fixture
def vm(tmp_path: Path) -> LibvirtEngineVm:
    return on_test_driver(tmp_path)


class Waiting:
    """A libvirt whose start of the VM waits for the lease until the emulator is killed."""

    def __init__(self, vm: LibvirtEngineVm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.over = threading.Event(), threading.Event()
        self.emulators = 0
        self.ended: list[Exception | None] = []
        vm.sighting()
        monkeypatch.setattr(vm._link.connection, "createXML", self.create)
        monkeypatch.setattr(vm._emulator, "kill", self.kill)
        self._vm = vm

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._start)
        thread.start()
        assert self.asked.wait(5)
        return thread

    def _start(self) -> None:
        try:
            self._vm.start(XML)
            self.ended.append(None)
        except VmStartFailed as error:
            self.ended.append(error)

    def create(self, *_: object) -> None:
        self.asked.set()
        assert self.over.wait(10)
        raise libvirt.libvirtError("Failed to acquire lock: Inappropriate ioctl for device")

    def kill(self, _limit_seconds: float) -> bool:
        if self.emulators == 0:
            return False
        self.emulators -= 1
        self.over.set()
        return True


def test_the_power_of_a_vm_that_waits_for_its_lease_can_be_cut(
    vm: LibvirtEngineVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    libvirt_waits = Waiting(vm, monkeypatch)
    libvirt_waits.emulators = 1
    thread = libvirt_waits.start()
    vm.power_off()
    thread.join(5)
    assert isinstance(libvirt_waits.ended[0], VmLocked)
    with pytest.raises(VmMissing):  # from here on libvirt is asked again
        vm.power_off()


def test_a_start_that_cannot_be_ended_is_told(
    vm: LibvirtEngineVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ha.env.engine_vm.END_START_SECONDS", 0.3)
    libvirt_waits = Waiting(vm, monkeypatch)
    thread = libvirt_waits.start()
    with pytest.raises(VmTrouble, match="is still being started"):
        vm.power_off()
    libvirt_waits.over.set()
    thread.join(5)


def test_the_power_button_of_a_vm_that_waits_for_its_lease_does_nothing(
    vm: LibvirtEngineVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    libvirt_waits = Waiting(vm, monkeypatch)
    thread = libvirt_waits.start()
    with pytest.raises(VmTrouble, match="is still being started"):
        vm.shutdown()
    libvirt_waits.over.set()
    thread.join(5)


def test_a_start_behind_one_that_waits_is_not_made_any_more(
    vm: LibvirtEngineVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash of an agent: libvirt goes on with the start, and the next agent's waits."""
    libvirt_waits = Waiting(vm, monkeypatch)
    libvirt_waits.emulators = 1

    def look() -> VmSighting:
        libvirt_waits.asked.set()
        assert libvirt_waits.over.wait(10)
        return VmSighting(VmState.MISSING)

    made: list[object] = []
    monkeypatch.setattr(vm._link.connection, "createXML", lambda *given: made.append(given))
    monkeypatch.setattr(vm, "sighting", look)
    thread = libvirt_waits.start()
    vm.power_off()
    thread.join(5)
    assert made == []
    assert isinstance(libvirt_waits.ended[0], VmStartFailed)


def test_who_wants_to_hear_of_changes_does_not_wait_for_an_answer(
    vm: LibvirtEngineVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that is started again while libvirt waits for its former life's lease."""

    def look() -> VmSighting:
        raise AssertionError("this would wait for minutes")

    monkeypatch.setattr(vm, "sighting", look)
    told: list[VmSighting] = []
    vm.watch(told.append)
    vm._link.connection.createXML(XML, 0).destroy()
    deadline = time.monotonic() + 5
    while len(told) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
