"""An edited vm.conf boots from the medium, in plain lines and XML alike, and changes no more."""

import base64
import xml.etree.ElementTree as ET

import pytest

from ha.vm_conf import parse_vm_conf
from ha.vm_domain import start_xml
from tasks.rescue_conf import RescueConfError, boots_from, medium_in, rescue_conf

ISO = "/var/tmp/rescue.iso"
OVIRT = "http://ovirt.org/vm/1.0"
DISK = "<disk type='file' device='disk'><source file='/d'/><target dev='vda'/>{boot}</disk>"
CDROM = "<disk type='file' device='cdrom'>{inside}<target dev='hdc'/><readonly/></disk>"
NIC = "<interface type='bridge'><source bridge='b'/>{boot}</interface>"
PLAIN = """# made by the engine
vmName=HostedEngine
memSize=96
devices={type:disk,device:cdrom,index:2,readonly:true,path:,address:{type:drive,unit:0}}
devices={type:disk,device:disk,index:0,bootOrder:1,address:{type:pci,slot:0x06}}
devices={type:interface,device:bridge,network:ovirtmgmt}
"""
LEASE = "<lease><lockspace>sd</lockspace><key>volume</key><target path='/lease'/></lease>"


def domain(
    disk: str = "<boot order='1'/>",
    cdrom: str | None = "",
    nic: str = "",
    system: str = "",
    machine: str = "pc",
) -> str:
    drive = "" if cdrom is None else CDROM.format(inside=cdrom)
    return (
        f"<domain xmlns:ovirt-vm='{OVIRT}'><name>HostedEngine</name>"
        "<metadata><ovirt-vm:vm><ovirt-vm:clusterVersion/></ovirt-vm:vm></metadata>"
        f"<os><type machine='{machine}'>hvm</type>{system}</os>"
        f"<devices>{DISK.format(boot=disk)}{drive}{NIC.format(boot=nic)}{LEASE}</devices></domain>"
    )


def conf(xml: str | None = None, plain: str = PLAIN) -> str:
    if xml is None:
        return plain
    return f"{plain}xmlBase64={base64.b64encode(xml.encode()).decode()}\n"


def xml_of(text: str) -> ET.Element:
    found = parse_vm_conf(text).xml
    assert found is not None
    return ET.fromstring(found)


def orders(tree: ET.Element) -> dict[str, str | None]:
    named = {}
    for device in tree.findall("./devices/*"):
        boot = device.find("boot")
        named[device.get("device") or device.tag] = None if boot is None else boot.get("order")
    return named


@pytest.mark.parametrize("machine", ["pc", "pc-q35-rhel8.6.0"])
@pytest.mark.parametrize("cdrom", [None, "", "<source file='/old.iso'/><boot order='2'/>"])
@pytest.mark.parametrize("nic", ["", "<boot order='3'/>"])
@pytest.mark.parametrize("by_kind", [False, True])
@pytest.mark.parametrize("menu", [False, True])
def test_the_medium_comes_first_and_all_others_later(
    machine: str, cdrom: str | None, nic: str, by_kind: bool, menu: bool
) -> None:
    disk = "" if by_kind else "<boot order='1'/>"
    if by_kind and (nic or (cdrom and "boot" in cdrom)):
        return  # libvirt refuses a domain with both
    system = "<boot dev='hd'/><boot dev='network'/>" if by_kind else ""
    text = rescue_conf(conf(domain(disk, cdrom, nic, system, machine)), ISO, menu=menu)
    tree = xml_of(text)
    found = orders(tree)
    assert found["cdrom"] == "1"
    assert found["disk"] == "2"
    assert found["interface"] == ("4" if nic else None)
    assert len({order for order in found.values() if order}) == (3 if nic else 2)
    assert tree.findall("./os/boot") == []
    assert (tree.find("./os/bootmenu") is not None) is menu
    sources = tree.findall("./devices/disk[@device='cdrom']/source")
    assert [source.get("file") for source in sources] == [ISO]
    assert boots_from(text) == ISO


def test_the_plain_lines_say_the_same() -> None:
    text = rescue_conf(conf(domain()), ISO)
    cdrom, disk = parse_vm_conf(text).disks
    assert (cdrom["path"], cdrom["bootOrder"], disk["bootOrder"]) == (ISO, "1", "2")
    # The nested addresses and all that says nothing of booting stay.
    assert cdrom["address"] == {"type": "drive", "unit": "0"}
    kept = [line for line in PLAIN.splitlines() if "disk" not in line]
    assert [line for line in text.splitlines() if line in kept] == kept


def test_an_old_conf_without_xml_is_edited_in_its_lines() -> None:
    text = rescue_conf(conf(), ISO)
    assert boots_from(text) == ISO
    old = "vmName=HostedEngine\ncdrom=\nboot=c\n"
    assert rescue_conf(old, ISO).startswith(
        "vmName=HostedEngine\ncdrom=/var/tmp/rescue.iso\nboot=d"
    )


def test_the_monitor_starts_what_was_edited() -> None:
    own = conf(domain())
    for menu in (False, True):
        edited = rescue_conf(own, ISO, menu=menu)
        tree = ET.fromstring(start_xml(edited, host_name="h1", kvm=False, reference=own))
        assert orders(tree)["cdrom"] == "1"
        found = tree.find("./devices/disk[@device='cdrom']/source")
        assert found is not None
        assert found.get("file") == ISO


def test_namespaces_keep_their_names() -> None:
    coded = parse_vm_conf(rescue_conf(conf(domain()), ISO)).xml
    assert coded is not None
    assert "<ovirt-vm:clusterVersion" in coded


def test_the_normal_conf_tells_its_medium() -> None:
    assert medium_in(conf(domain())) == ""
    assert medium_in(conf(domain(cdrom="<source file='/old.iso'/>"))) == "/old.iso"
    assert boots_from(conf(domain(cdrom="<source file='/old.iso'/>"))) == ""


@pytest.mark.parametrize(
    "medium", ["", "relative.iso", "/a b.iso", "/a,b.iso", "/a}b", "/a#b", "/a:b", "/a\nb"]
)
def test_a_path_that_the_dialect_cannot_hold_is_refused(medium: str) -> None:
    with pytest.raises(RescueConfError, match="absolute paths"):
        rescue_conf(conf(domain()), medium)


@pytest.mark.parametrize("coded", ["%%%", "PGRvbWFpbj4=", "/w=="])
def test_xml_that_cannot_be_read_is_refused(coded: str) -> None:
    with pytest.raises(RescueConfError, match="cannot be read"):
        rescue_conf(f"{PLAIN}xmlBase64={coded}\n", ISO)
