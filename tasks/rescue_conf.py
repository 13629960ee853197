"""A copy of a vm.conf that boots from a rescue medium: plain lines and XML edited alike.

Since oVirt 4.2 a start uses the XML in `xmlBase64` alone, so that the Howto's edit of the plain
lines boots the unchanged VM; before 4.2 there are only the plain lines. Here both say the same.
Text in, text out: lines that say nothing of booting stay as they are, byte for byte.
"""

import base64
import binascii
import re
import xml.etree.ElementTree as ET
from io import StringIO

XML_KEY = "xmlBase64"
MENU_KEY = "bootMenuEnable"
MENU_TIMEOUT_MS = "10000"
# A value of a device's line ends at a comma or brace, and blanks are dropped by its readers.
FIT_PATH = re.compile(r"/[^\s,{}#:]+")
DEVICE = re.compile(r"\s*devices\s*=\s*\{(?P<spec>.*)\}\s*")


class RescueConfError(Exception):
    """A vm.conf cannot be edited so that it boots from the medium; the message says why."""


def rescue_conf(text: str, medium: str, *, menu: bool = False) -> str:
    """Return a vm.conf that boots from the medium first; raises RescueConfError."""
    if not FIT_PATH.fullmatch(medium):
        raise RescueConfError(
            f"{medium!r}: a vm.conf holds absolute paths without blanks, commas, colons and braces"
        )
    lines = [_edited(line, medium) for line in text.splitlines()]
    told = any(_is_cdrom(line) or line.startswith("cdrom=") for line in lines)
    if not told and not _has_xml(lines):
        lines.append(
            f"devices={{type:disk,device:cdrom,index:2,readonly:true,bootOrder:1,path:{medium}}}"
        )
    if menu:
        lines = [line for line in lines if not line.startswith(f"{MENU_KEY}=")]
        lines.append(f"{MENU_KEY}=true")
    return "".join(f"{_with_xml(line, medium, menu=menu)}\n" for line in lines)


def boots_from(text: str) -> str:
    """Return the medium that a vm.conf boots from first, by its XML if it has one; or empty.

    Raises RescueConfError.
    """
    coded = next((line for line in text.splitlines() if line.startswith(f"{XML_KEY}=")), None)
    if coded is None:
        specs = [_spec_of(line) for line in text.splitlines() if _is_cdrom(line)]
        first = (spec for spec in specs if spec.get("bootOrder") == "1")
        return next((spec.get("path", "") for spec in first), "")
    domain, _ = _parse(coded)
    for cdrom in domain.findall("./devices/disk[@device='cdrom']"):
        boot, source = cdrom.find("boot"), cdrom.find("source")
        if boot is not None and source is not None and boot.get("order") == "1":
            return source.get("file", "")
    return ""


def medium_in(text: str) -> str:
    """Return the medium in the cdrom of a vm.conf, whatever it boots from. Raises RescueConfError.

    The XML counts where there is one.
    """
    coded = next((line for line in text.splitlines() if line.startswith(f"{XML_KEY}=")), None)
    if coded is None:
        specs = [_spec_of(line) for line in text.splitlines() if _is_cdrom(line)]
        return next((spec.get("path", "") for spec in specs), "")
    domain, _ = _parse(coded)
    sources = domain.findall("./devices/disk[@device='cdrom']/source")
    return next((str(source.get("file") or source.get("dev") or "") for source in sources), "")


def serial_log(text: str) -> str:
    """Return the file to which libvirt copies the VM's serial console; empty if there is none.

    Raises RescueConfError.
    """
    coded = next((line for line in text.splitlines() if line.startswith(f"{XML_KEY}=")), None)
    if coded is None:
        return ""
    found = _parse(coded)[0].find("./devices/serial/log")
    return "" if found is None else found.get("file", "")


def _edited(line: str, medium: str) -> str:
    """Return a plain line with the medium in the cdrom's place and the boot order moved."""
    if re.match(r"\s*cdrom\s*=", line):
        return f"cdrom={medium}"
    if re.match(r"\s*boot\s*=", line):
        return "boot=d"
    found = DEVICE.fullmatch(line)
    if found is None:
        return line
    spec = found["spec"]
    if _is_cdrom(line):
        spec = _put(_put(spec, "path", medium), "bootOrder", "1")
    else:
        # The medium is first now; all others come one later.
        spec = re.sub(r"(?<=bootOrder:)\d+", lambda order: str(int(order[0]) + 1), spec)
    return f"devices={{{spec}}}"


def _put(spec: str, key: str, value: str) -> str:
    if re.search(rf"(^|,){key}:", spec):
        return re.sub(rf"((?:^|,){key}:)[^,}}]*", rf"\g<1>{value}", spec)
    return f"{spec},{key}:{value}"


def _is_cdrom(line: str) -> bool:
    return _spec_of(line).get("device") == "cdrom"


def _spec_of(line: str) -> dict[str, str]:
    found = DEVICE.fullmatch(line)
    if found is None:
        return {}
    # Nested specs are of no interest here: type, device, path and bootOrder are on top.
    flat = re.sub(r"\{[^{}]*\}", "", found["spec"])
    return dict(pair.split(":", 1) for pair in flat.split(",") if ":" in pair)


def _has_xml(lines: list[str]) -> bool:
    return any(line.startswith(f"{XML_KEY}=") for line in lines)


def _with_xml(line: str, medium: str, *, menu: bool) -> str:
    if not line.startswith(f"{XML_KEY}="):
        return line
    domain, namespaces = _parse(line)
    _order_others(domain)
    cdrom = _cdrom_of(domain)
    for old in (*cdrom.findall("source"), *cdrom.findall("boot")):
        cdrom.remove(old)
    cdrom.set("type", "file")
    ET.SubElement(cdrom, "source", file=medium)
    ET.SubElement(cdrom, "boot", order="1")
    if menu:
        _put_menu(domain)
    for prefix, uri in namespaces.items():
        # VDSM's metadata keeps the prefixes that people know.
        ET.register_namespace(prefix, uri)
    text = ET.tostring(domain, encoding="unicode")
    return f"{XML_KEY}={base64.b64encode(text.encode()).decode('ascii')}"


def _parse(line: str) -> tuple[ET.Element, dict[str, str]]:
    coded = line.partition("=")[2].strip()
    try:
        text = base64.b64decode(coded, validate=True).decode("utf-8")
        namespaces = {
            str(prefix): str(uri)
            for _, (prefix, uri) in ET.iterparse(StringIO(text), events=["start-ns"])
            if prefix
        }
        return ET.fromstring(text), namespaces
    except (binascii.Error, UnicodeDecodeError, ET.ParseError) as error:
        raise RescueConfError(f"the XML in {XML_KEY} cannot be read: {error}") from error


def _order_others(domain: ET.Element) -> None:
    """Move all orders one later; libvirt refuses them beside an order by kind of device."""
    orders = domain.findall("./devices/*/boot")
    for boot in orders:
        boot.set("order", str(int(boot.get("order", "1")) + 1))
    for system in domain.findall("os"):
        for kind in system.findall("boot"):
            system.remove(kind)
    disk = domain.find("./devices/disk[@device='disk']")
    if not orders and disk is not None:
        ET.SubElement(disk, "boot", order="2")


def _cdrom_of(domain: ET.Element) -> ET.Element:
    cdrom = domain.find("./devices/disk[@device='cdrom']")
    if cdrom is not None:
        return cdrom
    devices = domain.find("devices")
    if devices is None:
        raise RescueConfError(f"the XML in {XML_KEY} has no <devices>")
    kind = domain.find("./os/type")
    machine = "" if kind is None else kind.get("machine", "")
    # The q35 machines have no IDE.
    dev, bus = ("sdc", "sata") if "q35" in machine else ("hdc", "ide")
    made = ET.SubElement(devices, "disk", type="file", device="cdrom")
    ET.SubElement(made, "target", dev=dev, bus=bus)
    ET.SubElement(made, "readonly")
    return made


def _put_menu(domain: ET.Element) -> None:
    system = domain.find("os")
    if system is None:
        raise RescueConfError(f"the XML in {XML_KEY} has no <os>")
    for menu in system.findall("bootmenu"):
        system.remove(menu)
    ET.SubElement(system, "bootmenu", enable="yes", timeout=MENU_TIMEOUT_MS)
