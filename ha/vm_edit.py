"""An edited copy of a vm.conf: what it changes about booting, and its way into the XML.

The plain lines and the XML say the same: the cdrom's medium, the boot order, the boot menu. What
was edited in either takes effect. Where the two contradict each other, nobody knows what was meant:
an error names both. Upstream hands VDSM the XML alone, so that an edited plain line does nothing.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from typing import TypeVar

from ha.vm_conf import XML_KEY, Spec, VmConf, VmConfError

MENU_KEY = "bootMenuEnable"
# As VDSM sets it: long enough for a person to press a key.
MENU_TIMEOUT_MS = "10000"
_DECLARATION = re.compile("<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_YES = ("true", "yes", "1")
# What is said about booting in the line of a device, by the kind of the device.
_WORDS = {"disk": ("bootOrder",), "cdrom": ("bootOrder", "path"), "interface": ("bootOrder",)}

T = TypeVar("T")


def carry_over(domain: ET.Element, conf: VmConf, reference: VmConf) -> None:
    """Put what was edited in the plain lines of `conf` into its XML, which is `domain`.

    `reference` is the vm.conf before the edit. Raises VmConfError when plain lines and XML
    contradict each other, or when a plain line was edited that has no effect.
    """
    _refuse_what_has_no_effect(conf, reference)
    before = domain_of(reference)
    plain, plain_before = _boot_of_plain(conf), _boot_of_plain(reference)
    xml, xml_before = _boot_of_xml(domain), _boot_of_xml(before)
    for name, wanted in plain.items():
        actual = xml.get(name, "")
        if wanted == actual:
            continue
        by_plain = wanted != plain_before.get(name, "")
        if by_plain is (actual != xml_before.get(name, "")):
            raise _contradiction(name, wanted, actual)
        if by_plain:
            _apply(domain, name, wanted)
    _refuse_same_order(domain)


def domain_of(conf: VmConf) -> ET.Element:
    """Return the XML of a vm.conf as a tree. Raises VmConfError."""
    if conf.xml is None:
        raise VmConfError(f"There is no {XML_KEY} in the vm.conf, so there is nothing to start")
    if _DECLARATION.search(conf.xml):
        raise VmConfError(f"The XML in {XML_KEY} declares types or entities: no domain needs them")
    try:
        domain = ET.fromstring(conf.xml)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise VmConfError(f"The XML in {XML_KEY} is broken: {error}") from error
    if domain.tag != "domain":
        raise VmConfError(f"The XML in {XML_KEY} is no domain but <{domain.tag}>")
    return domain


def set_boot(device: ET.Element, order: str) -> None:
    """Give a device its place in the boot order; none with an empty one. Raises VmConfError."""
    for boot in device.findall("boot"):
        device.remove(boot)
    if order:
        if not re.fullmatch(r"[1-9][0-9]*", order):
            raise VmConfError(f"bootOrder {order!r} is not a positive number")
        ET.SubElement(device, "boot", order=order)


def set_medium(cdrom: ET.Element, path: str) -> None:
    """Put a file into the drive; an empty path takes the medium out."""
    for source in cdrom.findall("source"):
        cdrom.remove(source)
    if path:
        ET.SubElement(cdrom, "source", file=path)


def _set_menu(domain: ET.Element, *, on: bool) -> None:
    system = domain.find("os")
    if system is None:
        raise VmConfError(f"The XML in {XML_KEY} has no <os>")
    for menu in system.findall("bootmenu"):
        system.remove(menu)
    if on:
        ET.SubElement(system, "bootmenu", enable="yes", timeout=MENU_TIMEOUT_MS)


def _contradiction(name: str, plain: str, xml: str) -> VmConfError:
    return VmConfError(
        f"The plain lines and the XML in {XML_KEY} contradict each other. {name} is"
        f" {plain or 'nothing'!r} in the plain lines and {xml or 'nothing'!r} in the XML."
        " Edit one of them and leave the other as it was, or write the same into both"
    )


def _boot_of_plain(conf: VmConf) -> dict[str, str]:
    """What the plain lines say about booting, by the device's label and the word."""
    said = {MENU_KEY: "true" if str(conf.values.get(MENU_KEY, "")).lower() in _YES else ""}
    lines = ((_kind(line), line) for line in conf.lists.get("devices", ()))
    for label, (kind, line) in _labelled(lines).items():
        for word in _WORDS[kind]:
            said[f"{label} {word}"] = str(line.get(word, "")) if isinstance(line, dict) else ""
    return said


def _boot_of_xml(domain: ET.Element) -> dict[str, str]:
    menu = domain.find("./os/bootmenu[@enable='yes']")
    said = {MENU_KEY: "" if menu is None else "true"}
    for label, (_, device) in _devices(domain).items():
        said[f"{label} bootOrder"] = _attributes(device.find("boot")).get("order", "")
        source = _attributes(device.find("source"))
        said[f"{label} path"] = source.get("file") or source.get("dev", "")
    return said


def _attributes(element: ET.Element | None) -> Mapping[str, str]:
    return {} if element is None else element.attrib


def _devices(domain: ET.Element) -> dict[str, tuple[str, ET.Element]]:
    found = domain.findall("./devices/*")
    kinds = [each.get("device", "disk") if each.tag == "disk" else each.tag for each in found]
    return _labelled(zip(kinds, found, strict=True))


def _labelled(devices: Iterable[tuple[str, T]]) -> dict[str, tuple[str, T]]:
    """Name each device that may be booted from by its kind, from the second on with a number."""
    named: dict[str, tuple[str, T]] = {}
    for kind, device in devices:
        if kind in _WORDS:
            same = sum(kind == other for other, _ in named.values())
            named[f"{kind} {same + 1}" if same else kind] = (kind, device)
    return named


def _kind(line: Spec) -> str:
    if not isinstance(line, dict):
        return ""
    return str(line.get("device", "disk") if line.get("type") == "disk" else line.get("type"))


def _apply(domain: ET.Element, name: str, wanted: str) -> None:
    if name == MENU_KEY:
        _set_menu(domain, on=bool(wanted))
        return
    label, _, word = name.rpartition(" ")
    if label not in _devices(domain):
        raise VmConfError(f"The XML in {XML_KEY} has no {label} to which the edited {word} applies")
    _, device = _devices(domain)[label]
    if word == "path":
        set_medium(device, wanted)
        return
    set_boot(device, wanted)
    # libvirt refuses an order for devices beside one for kinds of devices.
    for system in domain.findall("os"):
        for whole in system.findall("boot"):
            system.remove(whole)


def _refuse_same_order(domain: ET.Element) -> None:
    orders = [boot.get("order") for boot in domain.findall("./devices/*/boot")]
    if len(set(orders)) != len(orders):
        raise VmConfError("Two devices have the same bootOrder: give each its own number")


def _refuse_what_has_no_effect(conf: VmConf, reference: VmConf) -> None:
    ours, before = _other_lines(conf), _other_lines(reference)
    edited = sorted(key for key in ours.keys() | before.keys() if ours.get(key) != before.get(key))
    if not edited:
        return
    too = f", and the XML in {XML_KEY} differs, too" if conf.xml != reference.xml else ""
    raise VmConfError(
        f"Edited plain lines have no effect here: {', '.join(edited)}{too}. Only the cdrom's path,"
        f" bootOrder and {MENU_KEY} take effect; edit the XML for anything else. If nobody edited"
        " them, the copy is older than this host's own vm.conf: make a new one"
    )


def _other_lines(conf: VmConf) -> dict[str, object]:
    """The plain lines without what they say about booting."""
    devices = []
    for line in conf.lists.get("devices", ()):
        words = _WORDS.get(_kind(line), ())
        kept = {k: v for k, v in line.items() if k not in words} if isinstance(line, dict) else line
        devices.append(kept)
    values = {key: value for key, value in conf.values.items() if key not in (XML_KEY, MENU_KEY)}
    return {**values, **conf.lists, "devices": devices}
