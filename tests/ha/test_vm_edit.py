"""An edited copy of a vm.conf: in either form it takes effect, and contradictions are refused."""

import re
import xml.etree.ElementTree as ET

import pytest

from ha.vm_conf import VmConfError, encode_xml, parse_vm_conf
from tests.ha.test_vm_conf import TEXT, start


def edited_xml(old: str, new: str) -> str:
    """The text with an edit inside xmlBase64."""
    xml = parse_vm_conf(TEXT).xml
    assert xml is not None
    assert old in xml
    return re.sub(r"xmlBase64=.*", f"xmlBase64={encode_xml(xml.replace(old, new))}", TEXT)


def test_an_edited_xml_takes_effect() -> None:
    text = edited_xml('machine="pc"', 'machine="pc-i440fx-7.2"')
    assert start(text, reference=TEXT).find("os/type").get("machine") == "pc-i440fx-7.2"  # type: ignore[union-attr]


# The same edit, in the plain lines and in the XML: what to replace, and what with.
PLAIN = {
    "cdrom path": [("path:}", "path:/rescue.iso}")],
    "cdrom bootOrder": [
        ("path:}", "path:,bootOrder:1}"),
        ("propagateErrors:off,bootOrder:1", "propagateErrors:off,bootOrder:2"),
    ],
    "disk bootOrder": [("propagateErrors:off,bootOrder:1", "propagateErrors:off,bootOrder:7")],
    "interface bootOrder": [("linkActive:true}", "linkActive:true,bootOrder:3}")],
    "bootMenuEnable": [("display=vnc", "display=vnc\nbootMenuEnable=true")],
}
CDROM = '<target dev="hdc" bus="ide" />'
XML = {
    "cdrom path": [(CDROM, f'<source file="/rescue.iso" />{CDROM}')],
    "cdrom bootOrder": [
        ('<boot order="1" />', '<boot order="2" />'),
        (CDROM, f'<boot order="1" />{CDROM}'),
    ],
    "disk bootOrder": [('<boot order="1" />', '<boot order="7" />')],
    "interface bootOrder": [("<mac address", '<boot order="3" /><mac address')],
    "bootMenuEnable": [("</os>", '<bootmenu enable="yes" timeout="10000" /></os>')],
}


def edit(name: str, *, plain: bool, xml: bool) -> str:
    text = TEXT
    for old, new in PLAIN[name] if plain else ():
        assert old in text
        text = text.replace(old, new)
    inside = parse_vm_conf(TEXT).xml or ""
    for old, new in XML[name] if xml else ():
        assert old in inside
        inside = inside.replace(old, new)
    return re.sub(r"xmlBase64=.*", f"xmlBase64={encode_xml(inside)}", text)


def booted(domain: ET.Element) -> tuple[object, ...]:
    """What the VM boots from: the cdrom's medium, the orders by device, the menu."""
    cdrom = domain.find("devices/disk[@device='cdrom']")
    assert cdrom is not None
    medium = [source.get("file") for source in cdrom.findall("source")]
    orders = {
        device.get("device", device.tag): boot.get("order")
        for device in domain.findall("devices/*")
        for boot in device.findall("boot")
    }
    return medium, orders, [menu.get("enable") for menu in domain.findall("os/bootmenu")]


BOOTED = {
    "cdrom path": (["/rescue.iso"], {"disk": "1"}, []),
    "cdrom bootOrder": ([], {"disk": "2", "cdrom": "1"}, []),
    "disk bootOrder": ([], {"disk": "7"}, []),
    "interface bootOrder": ([], {"disk": "1", "interface": "3"}, []),
    "bootMenuEnable": ([], {"disk": "1"}, ["yes"]),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(("plain", "xml"), [(True, False), (False, True), (True, True)])
def test_an_edit_takes_effect_in_either_form_and_in_both(name: str, plain: bool, xml: bool) -> None:
    assert booted(start(TEXT, reference=TEXT)) == ([], {"disk": "1"}, [])
    assert booted(start(edit(name, plain=plain, xml=xml), reference=TEXT)) == BOOTED[name]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(("plain", "xml"), [(True, False), (False, True)])
def test_an_edit_is_undone_in_either_form(name: str, plain: bool, xml: bool) -> None:
    """The rescue is over: the copy that is edited back starts as before."""
    edited = edit(name, plain=True, xml=True)
    back = edit(name, plain=not plain, xml=not xml)
    assert booted(start(back, reference=edited)) == ([], {"disk": "1"}, [])


@pytest.mark.parametrize(
    ("name", "plain", "xml"),
    [
        ("cdrom path", ("path:}", "path:/a.iso}"), (CDROM, f'<source file="/b.iso" />{CDROM}')),
        ("disk bootOrder", ("off,bootOrder:1", "off,bootOrder:2"), ('order="1"', 'order="3"')),
        ("disk bootOrder", ("off,bootOrder:1", "off"), ('order="1"', 'order="3"')),
        (
            "interface bootOrder",
            ("linkActive:true}", "linkActive:true,bootOrder:3}"),
            ("<mac address", '<boot order="4" /><mac address'),
        ),
    ],
)
def test_a_contradiction_names_both(
    name: str, plain: tuple[str, str], xml: tuple[str, str]
) -> None:
    text = edited_xml(*xml).replace(*plain)
    with pytest.raises(VmConfError, match=f"contradict each other. {name} is") as refused:
        start(text, reference=TEXT)
    for _, new in (plain, xml):
        assert all(word in str(refused.value) for word in re.findall(r"/[ab].iso|[234]", new))


def test_two_forms_that_never_agreed_are_a_contradiction_too() -> None:
    text = edited_xml('order="1"', 'order="3"')
    with pytest.raises(VmConfError, match="disk bootOrder is '1' in the plain lines and '3' in"):
        start(text, reference=text)
    assert start(text).find("devices/disk/boot").get("order") == "3"  # type: ignore[union-attr]


def test_a_second_disk_is_told_from_the_first() -> None:
    second = "devices={type:disk,device:disk,index:1,bootOrder:5}\n"
    disk = '<disk type="file" device="disk"><boot order="5" /></disk></devices>'
    two = edited_xml("</devices>", disk) + second
    domain = start(two.replace("index:1,bootOrder:5", "index:1,bootOrder:4"), reference=two)
    orders = [boot.get("order") for boot in domain.iter("boot")]
    assert orders == ["1", "4"]


def test_an_order_of_devices_replaces_one_of_kinds() -> None:
    """libvirt refuses a domain with both."""
    text = edited_xml("</os>", '<boot dev="hd" /></os>')
    domain = start(text.replace("off,bootOrder:1", "off,bootOrder:2"), reference=text)
    assert domain.findall("os/boot") == []


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda: TEXT.replace("memSize=96", "memSize=128"), "no effect here: memSize. Only"),
        (lambda: TEXT + "boot=d\n", "no effect here: boot. Only the cdrom's path, bootOrder"),
        (lambda: TEXT.replace("nicModel:pv", "nicModel:e1000"), "no effect here: devices"),
        (
            lambda: edited_xml('machine="pc"', 'machine="q"').replace("memSize=96", "memSize=1"),
            "memSize, and the XML in xmlBase64 differs, too",
        ),
        (lambda: TEXT.replace("path:}", "path:/x.iso,bootOrder:1}"), "same bootOrder"),
        (lambda: edited_xml(CDROM, f'<boot order="1" />{CDROM}'), "same bootOrder"),
        (lambda: TEXT.replace("path:}", "path:/x.iso,bootOrder:first}"), "not a positive number"),
        (
            lambda: TEXT + "devices={type:interface,device:bridge,bootOrder:2}\n",
            "no effect here: devices",
        ),
        (lambda: re.sub("xmlBase64=.*", "", TEXT), "no xmlBase64"),
        (lambda: re.sub("xmlBase64=.*", "xmlBase64=%%%", TEXT), "cannot be decoded"),
        (lambda: re.sub("xmlBase64=.*", f"xmlBase64={encode_xml('<x')}", TEXT), "is broken"),
    ],
)
def test_edits_that_are_refused(edit, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(VmConfError, match=says):
        start(edit(), reference=TEXT)


def test_an_edit_for_a_device_that_the_xml_lacks() -> None:
    text = edited_xml('device="cdrom"', 'device="floppy"')
    with pytest.raises(VmConfError, match="has no cdrom to which the edited path applies"):
        start(text.replace("path:}", "path:/x.iso}"), reference=text)
