"""The consoles through libvirt, on a domain that remembers what it is told.

libvirt's own test driver cannot change a device; the lab does it with a real VM.
"""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

libvirt = pytest.importorskip("libvirt", reason="libvirt's binding is missing")

from ha.env.console_port import VncServer  # noqa: E402  (needs the binding)
from ha.env.engine_console import LibvirtConsole, vm_exists  # noqa: E402
from ha.env.ports import VmMissing, VmTrouble, VmUnreachable  # noqa: E402
from ha.env.probes import address_of  # noqa: E402

GRAPHICS = """<graphics type='vnc' port='5901' autoport='yes' listen='0.0.0.0' passwd='old'
passwdValidTo='1970-01-01T00:00:01'><listen type='address' address='0.0.0.0'/></graphics>"""


class FakeDomain:
    def __init__(self, graphics: str) -> None:
        self.graphics = graphics
        self.deaf = False
        self.refusal: libvirt.libvirtError | None = None

    def XMLDesc(self, flags: int) -> str:  # noqa: N802  (libvirt's name)
        shown = self.graphics
        if not flags & libvirt.VIR_DOMAIN_XML_SECURE:
            shown = shown.replace("passwd='old'", "")
        return f"<domain><devices>{shown}</devices></domain>"

    def updateDeviceFlags(self, xml: str, flags: int) -> None:  # noqa: N802
        assert flags == libvirt.VIR_DOMAIN_AFFECT_LIVE
        if self.refusal:
            raise self.refusal
        if not self.deaf:
            self.graphics = xml


class FakeConnection:
    def __init__(self, domain: FakeDomain) -> None:
        self.domain = domain

    def isAlive(self) -> bool:  # noqa: N802
        return True

    def lookupByName(self, name: str) -> FakeDomain:  # noqa: N802
        assert name == "HostedEngine"
        return self.domain


def console_of(graphics: str = GRAPHICS) -> tuple[LibvirtConsole, FakeDomain]:
    console, domain = LibvirtConsole(), FakeDomain(graphics)
    console._link.connection = FakeConnection(domain)
    return console, domain


@pytest.mark.parametrize(
    ("graphics", "server"),
    [
        (GRAPHICS, VncServer("0.0.0.0", 5901)),
        (GRAPHICS.replace("5901", "-1"), None),
        (GRAPHICS.replace("listen='0.0.0.0'", ""), VncServer("0.0.0.0", 5901)),
        ("<graphics type='vnc' port='5900'/>", VncServer("", 5900)),
        ("<graphics type='spice' port='5900'/>", None),
        ("", None),
    ],
)
def test_where_vnc_listens(graphics: str, server: VncServer | None) -> None:
    assert console_of(graphics)[0].vnc() == server


def test_a_password_with_its_end_in_utc() -> None:
    console, domain = console_of()
    console.set_vnc_password("s3cret12", valid_until=1_700_000_000.4)
    now = ET.fromstring(domain.graphics)
    assert now.get("passwd") == "s3cret12"
    assert now.get("passwdValidTo") == "2023-11-14T22:13:20"
    assert (now.get("port"), now.get("listen")) == ("5901", "0.0.0.0")


def test_a_password_that_is_not_there_afterwards_is_trouble() -> None:
    console, domain = console_of()
    domain.deaf = True
    with pytest.raises(VmTrouble, match="did not take") as refused:
        console.set_vnc_password("s3cret12", valid_until=1.0)
    assert "s3cret12" not in str(refused.value)


def test_a_password_that_libvirt_refuses() -> None:
    console, domain = console_of()
    domain.refusal = libvirt.libvirtError("no monitor")
    with pytest.raises(VmTrouble, match="no monitor"):
        console.set_vnc_password("s3cret12", valid_until=1.0)


def test_a_vm_without_vnc() -> None:
    with pytest.raises(VmTrouble, match="no VNC server"):
        console_of("")[0].set_vnc_password("s3cret12", valid_until=1.0)


def test_a_vm_that_is_not_here(tmp_path: Path) -> None:
    node = tmp_path / "node.xml"
    node.write_text("<node/>")
    console = LibvirtConsole(f"test://{node}")
    with pytest.raises(VmMissing):
        console.vnc()
    with pytest.raises(VmMissing):
        console.set_vnc_password("s3cret12", valid_until=1.0)


def test_an_unreachable_libvirt() -> None:
    with pytest.raises(VmUnreachable):
        LibvirtConsole("qemu+unix:///system?socket=/nowhere/libvirt-sock").vnc()


@pytest.mark.parametrize(("code", "ended"), [(0, 0), (3, 3)])
def test_the_serial_console_is_virshs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, ended: int
) -> None:
    asked = tmp_path / "asked"
    virsh = tmp_path / "virsh"
    virsh.write_text(f'#!/bin/sh\necho "$@" > {asked}\nexit {code}\n')
    virsh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert LibvirtConsole().attach_serial() == ended
    assert asked.read_text() == "--connect qemu:///system console HostedEngine\n"


def test_the_address_of_an_interface() -> None:
    assert address_of("lo") == "127.0.0.1"
    assert address_of("nosuchinterface") == ""


def test_another_vm_of_this_host(tmp_path: Path) -> None:
    assert vm_exists("test", "test:///default")
    assert not vm_exists("HostedEngineLocal", "test:///default")
    assert not vm_exists("test", f"test://{tmp_path}/no-such")
