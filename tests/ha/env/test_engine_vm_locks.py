"""Who loses a race for the VM is told so in many words, and is never taken for one that failed."""

from pathlib import Path

import pytest

libvirt = pytest.importorskip("libvirt", reason="libvirt's binding is missing")

from ha.core.sighting import StopReason, VmSighting, VmState  # noqa: E402  (needs the binding)
from ha.env.engine_vm import LibvirtEngineVm  # noqa: E402
from ha.env.ports import VmLocked, VmStartFailed  # noqa: E402
from tests.ha.env.engine_vm_rigs import on_test_driver  # noqa: E402

XML = """<domain type='test'><name>HostedEngine</name><memory unit='MiB'>64</memory>
<os><type>hvm</type></os></domain>"""


@pytest.fixture
def vm(tmp_path: Path) -> LibvirtEngineVm:
    return on_test_driver(tmp_path)


# libvirt's lock_driver_sanlock.c with a sanlock that has words for its codes, and without; and what
# QEMU 2.10 to 8 says of an image that another process has locked (file-posix.c).
LOCKED = [
    "resource busy: Failed to acquire lock: Lease is held by another host",
    "internal error: Failed to acquire lock: Lease is held by another host",
    "Failed to acquire lock: Inappropriate ioctl for device",
    *(
        f"internal error: process exited: Failed to acquire lock: error {c}"
        for c in range(-249, -229)
    ),
    *(
        f"qemu-system-x86_64: -blockdev {{}}: Failed to get {shared}{kind} lock{hint}"
        for shared in ("", "shared ")
        for kind in ('"write"', '"consistent read"', '"resize"')
        for hint in ("", "\nIs another process using the image [/dev/x]?")
    ),
    "Is another process using the image?",
]


@pytest.mark.parametrize("text", LOCKED)
def test_a_lease_held_elsewhere_is_a_lock(
    vm: LibvirtEngineVm, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    vm.sighting()

    def refuse(*_: object) -> None:
        raise libvirt.libvirtError(text)

    monkeypatch.setattr(vm._link.connection, "createXML", refuse)
    with pytest.raises(VmLocked):
        vm.start(XML)
    assert vm.sighting() == VmSighting(VmState.DOWN, StopReason.LOCKED)


@pytest.mark.parametrize(
    "text",
    [
        "internal error: process exited while connecting to monitor: Cannot allocate memory",
        "Cannot access storage file '/rhev/x': No such file or directory",
        "Failed to connect socket to '/run/libvirt/virtlockd-sock'",
        'unsupported configuration: machine type "pc-42" is not supported',
    ],
)
def test_other_refusals_are_no_lock(
    vm: LibvirtEngineVm, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    vm.sighting()

    def refuse(*_: object) -> None:
        raise libvirt.libvirtError(text)

    monkeypatch.setattr(vm._link.connection, "createXML", refuse)
    with pytest.raises(VmStartFailed) as refused:
        vm.start(XML)
    assert not isinstance(refused.value, VmLocked)
