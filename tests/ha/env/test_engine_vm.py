"""The engine VM on libvirt's own test driver: states and events of a domain, without a machine."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

libvirt = pytest.importorskip("libvirt", reason="libvirt's binding is missing")

from ha.core.sighting import StopReason, VmSighting, VmState  # noqa: E402  (needs the binding)
from ha.env import engine_vm_link  # noqa: E402
from ha.env.engine_vm import LibvirtEngineVm  # noqa: E402
from ha.env.ports import (  # noqa: E402
    VmAlreadyRuns,
    VmBusy,
    VmLocked,
    VmMissing,
    VmStartFailed,
    VmTrouble,
    VmUnreachable,
)
from tests.ha.env.engine_vm_rigs import on_test_driver  # noqa: E402

XML = """<domain type='test'><name>HostedEngine</name><memory unit='MiB'>64</memory>
<os><type>hvm</type></os></domain>"""
UP = VmSighting(VmState.UP)


@pytest.fixture
def vm(tmp_path: Path) -> LibvirtEngineVm:
    return on_test_driver(tmp_path)


def domain_of(vm: LibvirtEngineVm) -> Any:
    return vm._link.connection.lookupByName("HostedEngine")


def test_a_vm_that_never_was_here_is_missing(vm: LibvirtEngineVm) -> None:
    assert vm.sighting() == VmSighting(VmState.MISSING)


def test_start_and_power_off(vm: LibvirtEngineVm) -> None:
    vm.start(XML)
    assert vm.sighting() == UP
    vm.power_off()
    assert vm.sighting() == VmSighting(VmState.DOWN, StopReason.DESTROYED)


def test_shutdown_is_told_from_power_off(vm: LibvirtEngineVm) -> None:
    vm.start(XML)
    vm.shutdown()
    assert vm.sighting() == VmSighting(VmState.DOWN, StopReason.SHUTDOWN)


def test_a_started_vm_forgets_how_it_stopped(vm: LibvirtEngineVm) -> None:
    vm.start(XML)
    vm.power_off()
    vm.start(XML)
    assert vm.sighting() == UP


def test_a_running_vm_is_not_started_again(vm: LibvirtEngineVm) -> None:
    vm.start(XML)
    with pytest.raises(VmAlreadyRuns, match="VM exists and its status is Up"):
        vm.start(XML)


@pytest.mark.parametrize("paused", [False, True])
def test_without_a_lock_manager_nothing_is_started_and_what_is_there_stays(
    vm: LibvirtEngineVm, tmp_path: Path, paused: bool
) -> None:
    if paused:
        vm.start(XML)
        domain_of(vm).suspend()
    before = vm.sighting()
    (tmp_path / "qemu.conf").write_text('#lock_manager = "lockd"\n')
    with pytest.raises(VmStartFailed, match="two hosts could run it at once"):
        vm.start(XML)
    assert vm.sighting() == before


def test_a_paused_vm_is_replaced(vm: LibvirtEngineVm) -> None:
    vm.start(XML)
    domain_of(vm).suspend()
    assert vm.sighting() == VmSighting(VmState.PAUSED)
    vm.start(XML)
    assert vm.sighting() == UP


def test_a_vm_that_is_started_paused(vm: LibvirtEngineVm, monkeypatch: pytest.MonkeyPatch) -> None:
    vm.sighting()
    connection = vm._link.connection
    create = connection.createXML

    def create_and_pause(xml: str, flags: int) -> None:
        """libvirt's test driver does not know the flag."""
        assert flags == libvirt.VIR_DOMAIN_START_PAUSED
        create(xml, 0).suspend()

    monkeypatch.setattr(connection, "createXML", create_and_pause)
    vm.start(XML, paused=True)
    assert vm.sighting() == VmSighting(VmState.PAUSED)
    with pytest.raises(VmAlreadyRuns, match="Paused"):
        vm.start(XML, paused=True)


def test_a_defined_vm_that_is_shut_off_is_down_and_can_be_started(vm: LibvirtEngineVm) -> None:
    vm.sighting()
    defined = vm._link.connection.defineXML(XML)
    assert vm.sighting() == VmSighting(VmState.DOWN)
    with_its_uuid = defined.XMLDesc()
    vm.start(with_its_uuid)
    assert vm.sighting() == UP
    vm.power_off()
    defined.undefine()


@pytest.mark.parametrize("act", [LibvirtEngineVm.shutdown, LibvirtEngineVm.power_off])
def test_acting_on_a_missing_vm_says_so(vm: LibvirtEngineVm, act: Any) -> None:
    with pytest.raises(VmMissing, match="does not exist"):
        act(vm)


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, VmBusy),
        (libvirt.VIR_ERR_OPERATION_INVALID, VmTrouble),
    ],
)
def test_one_that_does_not_react_is_told_from_one_that_refuses(
    vm: LibvirtEngineVm, monkeypatch: pytest.MonkeyPatch, code: int, trouble: type[VmTrouble]
) -> None:
    vm.start(XML)

    def shutdown(_: object) -> None:
        error = libvirt.libvirtError("cannot acquire state change lock")
        error.err = (code, 0, "cannot acquire state change lock", 2)
        raise error

    monkeypatch.setattr(libvirt.virDomain, "shutdown", shutdown)
    with pytest.raises(VmTrouble, match="cannot acquire state change lock") as refused:
        vm.shutdown()
    assert type(refused.value) is trouble


def test_a_bad_definition_is_no_lock(vm: LibvirtEngineVm) -> None:
    with pytest.raises(VmStartFailed) as refused:
        vm.start("<domain/>")
    assert not isinstance(refused.value, VmLocked)


def test_changes_are_told_while_they_happen(vm: LibvirtEngineVm) -> None:
    told: list[VmSighting] = []
    stopped = threading.Event()

    def hear(seen: VmSighting) -> None:
        told.append(seen)
        if seen.state is VmState.DOWN:
            stopped.set()

    vm.watch(hear)
    vm.start(XML)
    vm.power_off()
    assert stopped.wait(5)
    assert told == [UP, VmSighting(VmState.DOWN, StopReason.DESTROYED)]


def test_other_domains_are_not_ours(vm: LibvirtEngineVm) -> None:
    told: list[VmSighting] = []
    vm.watch(told.append)
    vm._link.connection.createXML(XML.replace("HostedEngine", "Another"), 0).destroy()
    time.sleep(0.2)
    assert told == []
    assert vm.sighting() == VmSighting(VmState.MISSING)


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        (libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED, StopReason.MIGRATED),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED, StopReason.CRASHED),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED, StopReason.FAILED),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED, StopReason.OTHER),
    ],
)
def test_how_it_stopped_is_kept(vm: LibvirtEngineVm, detail: int, reason: StopReason) -> None:
    vm.start(XML)
    domain = domain_of(vm)
    vm.power_off()
    vm.sighting()
    vm._on_event(domain, libvirt.VIR_DOMAIN_EVENT_STOPPED, detail)
    assert vm.sighting() == VmSighting(VmState.DOWN, reason)


def test_an_unreachable_libvirt_is_a_value() -> None:
    vm = LibvirtEngineVm("qemu+unix:///system?socket=/nowhere/libvirt-sock")
    assert vm.sighting() == VmSighting(VmState.UNKNOWN)
    with pytest.raises(VmUnreachable):
        vm.start(XML)
    with pytest.raises(VmUnreachable):
        vm.power_off()


def test_a_dead_connection_is_replaced(vm: LibvirtEngineVm) -> None:
    told: list[VmSighting] = []
    vm.watch(told.append)
    first = vm._link.connection

    class Dead:
        def isAlive(self) -> bool:  # noqa: N802  (libvirt's name)
            return False

    vm._link.connection = Dead()
    vm.start(XML)
    assert vm.sighting() == UP
    assert vm._link.connection is not first
    vm.power_off()
    time.sleep(0.2)
    assert told == [UP, VmSighting(VmState.DOWN, StopReason.DESTROYED)]  # events came back too


def test_libvirt_coming_back_is_told(vm: LibvirtEngineVm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_vm_link, "RETURN_PAUSE_SECONDS", 0.01)
    told: list[VmState] = []
    back = threading.Event()

    def hear(seen: VmSighting) -> None:
        told.append(seen.state)
        if len(told) > 1:
            back.set()

    vm.watch(hear)
    vm._link._closed()  # as libvirt calls it; its test driver never closes
    assert back.wait(5)
    assert told == [VmState.UNKNOWN, VmState.MISSING]
