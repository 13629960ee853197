"""The engine VM's libvirt domain: made from a deployment's answers, and readied for a start."""

import os
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from ha.vm_conf import (
    XML_KEY,
    Spec,
    VmConf,
    VmConfError,
    encode_xml,
    format_vm_conf,
    parse_vm_conf,
)
from ha.vm_edit import carry_over, domain_of, set_boot, set_medium

DOMAIN_NAME = "HostedEngine"
SERIAL_LOG = Path("/var/log/libvirt/qemu/HostedEngine-serial.log")
# Without a processor model in the answers: the emulator's plainest, or the host's own.
EMULATED_CPU = "qemu64"


@dataclass(frozen=True, slots=True)
class VmSpec:
    """What a deployment says of its engine VM; sizes in MiB."""

    uuid: str
    memory_mib: int
    vcpus: int
    machine: str
    cpu_model: str
    mac: str
    bridge: str
    disk: Path
    disk_is_block: bool
    image: str
    volume: str
    sd_uuid: str
    lease: Path
    lease_offset_bytes: int
    cdrom: str = ""


def vm_conf_text(spec: VmSpec, generated: str) -> str:
    """Return the vm.conf of a deployment: plain lines and the XML, which say the same."""
    cdrom: Spec = {
        "type": "disk", "device": "cdrom", "index": "2", "readonly": "true",
        "shared": "false", "path": spec.cdrom, **({"bootOrder": "2"} if spec.cdrom else {}),
    }  # fmt: skip
    disk: Spec = {
        "type": "disk", "device": "disk", "index": "0", "iface": "virtio", "format": "raw",
        "shared": "exclusive", "readonly": "false", "propagateErrors": "off", "bootOrder": "1",
        "domainID": spec.sd_uuid, "imageID": spec.image, "volumeID": spec.volume,
    }  # fmt: skip
    nic: Spec = {
        "type": "interface", "device": "bridge", "nicModel": "pv", "macAddr": spec.mac,
        "network": spec.bridge, "linkActive": "true",
    }  # fmt: skip
    values: dict[str, Spec] = {
        "vmId": spec.uuid, "vmName": DOMAIN_NAME, "memSize": str(spec.memory_mib),
        "smp": str(spec.vcpus), "maxVCpus": str(spec.vcpus), "emulatedMachine": spec.machine,
        "display": "vnc", XML_KEY: encode_xml(domain_xml(spec)),
    }  # fmt: skip
    others: tuple[Spec, ...] = (
        {"type": "console", "device": "serial"},
        {"type": "graphics", "device": "vnc"},
        {"type": "video", "device": "vga"},
    )
    comments = (
        f"Generated {generated} by hosted-engine --deploy.",
        "A start uses the XML in xmlBase64. In a copy for --vm-start --vm-conf, a changed cdrom",
        "path, bootOrder or bootMenuEnable (true) below is carried over to it.",
    )
    conf = VmConf(values, {"devices": (cdrom, disk, nic, *others)})
    return format_vm_conf(conf, comments)


def domain_xml(spec: VmSpec) -> str:
    """Return the libvirt XML of the engine VM, but for what depends on the starting host."""
    domain = ET.Element("domain", type="kvm")
    _text(domain, "name", DOMAIN_NAME)
    _text(domain, "uuid", spec.uuid)
    _text(domain, "memory", str(spec.memory_mib), unit="MiB")
    _text(domain, "vcpu", str(spec.vcpus))
    system = ET.SubElement(domain, "os")
    _text(system, "type", "hvm", arch="x86_64", machine=spec.machine)
    ET.SubElement(ET.SubElement(domain, "features"), "acpi")
    if spec.cpu_model:
        cpu = ET.SubElement(domain, "cpu", mode="custom", match="exact")
        _text(cpu, "model", spec.cpu_model, fallback="allow")
    ET.SubElement(domain, "clock", offset="utc")
    for event, doing in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        _text(domain, f"on_{event}", doing)
    devices = ET.SubElement(domain, "devices")
    _add_disk(devices, spec)
    _add_lease(devices, spec)
    _add_others(devices, spec)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode")


def start_xml(text: str, *, host_name: str, kvm: bool, reference: str | None = None) -> str:
    """Return the XML with which this host starts the VM of a vm.conf.

    `reference` is the host's own vm.conf when `text` is an edited copy of it: what was edited in
    the plain lines or in the XML takes effect. Raises VmConfError when the two contradict each
    other, when something was edited that does not take effect, when there is no XML, or no lease
    in it.
    """
    conf = parse_vm_conf(text)
    domain = domain_of(conf)
    if domain.findtext("name") != DOMAIN_NAME:
        raise VmConfError(f"The XML in {XML_KEY} is not of {DOMAIN_NAME}: nobody would watch it")
    if reference is not None:
        own = parse_vm_conf(reference)
        carry_over(domain, conf, own)
        _require_same_vm(domain, domain_of(own))
    _require_lease(domain)
    _fit_to_host(domain, host_name, kvm=kvm)
    try:
        return ET.tostring(domain, encoding="unicode")
    except RecursionError as error:
        raise VmConfError(f"The XML in {XML_KEY} is too deep") from error


def _require_lease(domain: ET.Element) -> None:
    """Refuse a VM that nothing would keep from running on two hosts at once."""
    for lease in domain.findall("./devices/lease"):
        target = lease.find("target")
        if lease.findtext("lockspace") and target is not None and target.get("path"):
            return
    raise VmConfError(
        f"The XML in {XML_KEY} has no lease: the VM could run on two hosts at once. A deployment"
        " writes one; vm.conf on the shared storage was changed since"
    )


def _require_same_vm(domain: ET.Element, own: ET.Element) -> None:
    """Refuse an edit after which the VM could run on two hosts at once."""
    if domain.findtext("uuid") != own.findtext("uuid"):
        raise VmConfError(f"The uuid in {XML_KEY} is not the engine VM's")
    if _leases(domain) != _leases(own):
        raise VmConfError(
            f"The lease in {XML_KEY} is not this host's: without it the VM could run on two hosts"
        )


def _leases(domain: ET.Element) -> list[object]:
    return [
        (
            lease.findtext("lockspace", ""),
            lease.findtext("key", ""),
            [sorted(target.items()) for target in lease.findall("target")],
        )
        for lease in domain.findall("./devices/lease")
    ]


def kvm_usable() -> bool:
    """Whether this host can run the VM with hardware help."""
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def _fit_to_host(domain: ET.Element, host_name: str, *, kvm: bool) -> None:
    """Set what differs from host to host: the accelerator and the host's name in SMBIOS."""
    domain.set("type", "kvm" if kvm else "qemu")
    if domain.find("cpu") is None:
        cpu = ET.SubElement(domain, "cpu", mode="host-model" if kvm else "custom")
        if not kvm:
            _text(cpu, "model", EMULATED_CPU, fallback="allow")
    for old in domain.findall("sysinfo"):
        domain.remove(old)
    system = ET.SubElement(ET.SubElement(domain, "sysinfo", type="smbios"), "system")
    # As VDSM does: so the guest can tell on which host it runs.
    _text(system, "entry", "oVirt", name="manufacturer")
    _text(system, "entry", host_name, name="serial")
    operating = domain.find("os")
    if operating is not None and operating.find("smbios") is None:
        ET.SubElement(operating, "smbios", mode="sysinfo")


def _add_disk(devices: ET.Element, spec: VmSpec) -> None:
    kind, attribute = ("block", "dev") if spec.disk_is_block else ("file", "file")
    disk = ET.SubElement(devices, "disk", type=kind, device="disk")
    io = "native" if spec.disk_is_block else "threads"
    ET.SubElement(disk, "driver", name="qemu", type="raw", cache="none", io=io, error_policy="stop")
    ET.SubElement(disk, "source", {attribute: str(spec.disk)})
    ET.SubElement(disk, "target", dev="vda", bus="virtio")
    ET.SubElement(disk, "boot", order="1")
    cdrom = ET.SubElement(devices, "disk", type="file", device="cdrom")
    set_medium(cdrom, spec.cdrom)
    # The q35 machines have no IDE.
    dev, bus = ("sdc", "sata") if "q35" in spec.machine else ("hdc", "ide")
    ET.SubElement(cdrom, "target", dev=dev, bus=bus)
    ET.SubElement(cdrom, "readonly")
    if spec.cdrom:
        set_boot(cdrom, "2")


def _add_lease(devices: ET.Element, spec: VmSpec) -> None:
    lease = ET.SubElement(devices, "lease")
    _text(lease, "lockspace", spec.sd_uuid)
    _text(lease, "key", spec.volume)
    ET.SubElement(lease, "target", path=str(spec.lease), offset=str(spec.lease_offset_bytes))


def _add_others(devices: ET.Element, spec: VmSpec) -> None:
    nic = ET.SubElement(devices, "interface", type="bridge")
    ET.SubElement(nic, "mac", address=spec.mac)
    ET.SubElement(nic, "source", bridge=spec.bridge)
    ET.SubElement(nic, "model", type="virtio")
    ET.SubElement(nic, "rom", enabled="no")
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=str(SERIAL_LOG), append="on")
    ET.SubElement(
        devices, "graphics", type="vnc", port="-1", autoport="yes", listen="0.0.0.0",
        passwd="", passwdValidTo="1970-01-01T00:00:01",
    )  # fmt: skip
    ET.SubElement(ET.SubElement(devices, "video"), "model", type="vga", vram="16384")
    ET.SubElement(devices, "memballoon", model="none")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element
