"""vm.conf and the domain made of it."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from ha.vm_conf import VmConfError, format_vm_conf, parse_vm_conf
from ha.vm_domain import VmSpec, domain_xml, start_xml, vm_conf_text

SPEC = VmSpec(
    uuid="11111111-2222-3333-4444-555555555555", memory_mib=96, vcpus=1, machine="pc",
    cpu_model="", mac="52:54:00:88:00:50", bridge="ovirtmgmt", disk=Path("/d/vol"),
    disk_is_block=False, image="img", volume="vol", sd_uuid="sd", lease=Path("/d/vol.lease"),
    lease_offset_bytes=0,
)  # fmt: skip
TEXT = vm_conf_text(SPEC, "now")


def start(text: str, **options: object) -> ET.Element:
    return ET.fromstring(start_xml(text, host_name="h1", **{"kvm": False, **options}))  # type: ignore[arg-type]


def test_reading() -> None:
    conf = parse_vm_conf(
        "vm Id = x # said\n\n# all\ndevices={type:disk, address:{type:pci,slot:0x5},path:}\n"
        "devices={macAddr:52:54:00:88:00:50}\nalone\n"
    )
    assert conf.values == {"vmId": "x", "alone": ""}
    assert conf.lists["devices"] == (
        {"type": "disk", "address": {"type": "pci", "slot": "0x5"}, "path": ""},
        {"macAddr": "52:54:00:88:00:50"},
    )


def test_what_is_written_reads_the_same() -> None:
    conf = parse_vm_conf(TEXT)
    assert parse_vm_conf(format_vm_conf(conf)) == conf
    assert conf.xml == domain_xml(SPEC)


@pytest.mark.parametrize(
    "line", ["devices={type:disk", "devices={disk}", "devices={a:{b:c}", "x={a:b}c"]
)
def test_a_broken_line_is_named(line: str) -> None:
    with pytest.raises(VmConfError, match="line 2"):
        parse_vm_conf(f"vmId=x\n{line}\n")


@pytest.mark.parametrize("value", ["a b", "a#b"])
def test_what_the_dialect_cannot_hold_is_not_written(value: str) -> None:
    with pytest.raises(VmConfError):
        format_vm_conf(replace(parse_vm_conf(""), values={"x": value}))


def test_start_fits_the_host() -> None:
    domain = start(TEXT)
    assert domain.get("type") == "qemu"
    assert domain.findtext("cpu/model") == "qemu64"
    assert domain.find("os/smbios") is not None
    assert start(TEXT, kvm=True).get("type") == "kvm"
    assert start(TEXT, kvm=True).find("cpu").get("mode") == "host-model"  # type: ignore[union-attr]


def test_domain() -> None:
    domain = ET.fromstring(domain_xml(SPEC))
    lease = domain.find("devices/lease")
    assert lease is not None
    assert (lease.findtext("lockspace"), lease.findtext("key")) == ("sd", "vol")
    assert lease.find("target").attrib == {"path": "/d/vol.lease", "offset": "0"}  # type: ignore[union-attr]
    assert domain.find("devices/disk[@device='cdrom']/source") is None
    assert domain.find("devices/memballoon").get("model") == "none"  # type: ignore[union-attr]
    assert domain.find("devices/graphics").get("listen") == "0.0.0.0"  # type: ignore[union-attr]


def test_q35_has_no_ide() -> None:
    domain = ET.fromstring(domain_xml(replace(SPEC, machine="pc-q35-7.2")))
    assert domain.find("devices/disk[@device='cdrom']/target").get("bus") == "sata"  # type: ignore[union-attr]


def test_block_disk() -> None:
    domain = ET.fromstring(domain_xml(replace(SPEC, disk_is_block=True)))
    assert domain.find("devices/disk/source").attrib == {"dev": "/d/vol"}  # type: ignore[union-attr]
