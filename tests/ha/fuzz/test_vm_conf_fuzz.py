"""vm.conf with anything in it: the XML to start the engine VM with, or an error that says why."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ha.vm_conf import VmConf, VmConfError, encode_xml, format_vm_conf, parse_vm_conf
from ha.vm_domain import DOMAIN_NAME, VmSpec, domain_xml, start_xml, vm_conf_text
from tests.ha.deployed import uuid
from tests.ha.fuzz.strategies import fuzz, texts

SPEC = VmSpec(
    uuid=uuid(1), memory_mib=96, vcpus=1, machine="pc", cpu_model="", mac="00:16:3e:00:00:01",
    bridge="ovirtmgmt", disk=Path("/disk"), disk_is_block=False, image=uuid(2), volume=uuid(3),
    sd_uuid=uuid(4), lease=Path("/lease"), lease_offset_bytes=0,
)  # fmt: skip
TEXT = vm_conf_text(SPEC, "now")
XML = domain_xml(SPEC)


def xml_of(text: str, reference: str | None = TEXT) -> str | VmConfError:
    """What a vm.conf comes to: the XML of the engine VM, with its lease, or an error."""
    try:
        xml = start_xml(text, host_name="h1", kvm=False, reference=reference)
    except VmConfError as error:
        return error
    domain = ET.fromstring(xml)
    assert domain.findtext("name") == DOMAIN_NAME
    if reference is not None:
        assert domain.findtext("./devices/lease/key") == SPEC.volume
        assert domain.findtext("uuid") == SPEC.uuid
    return xml


def with_xml(xml: str) -> str:
    lines = (line for line in TEXT.splitlines() if not line.startswith("xmlBase64="))
    return "\n".join([*lines, f"xmlBase64={encode_xml(xml)}", ""])


def test_the_file_is_right() -> None:
    assert isinstance(xml_of(TEXT), str)
    assert isinstance(xml_of(with_xml(XML)), str)


def test_every_truncation() -> None:
    for size in range(len(TEXT)):
        cut = xml_of(TEXT[:size])
        # What follows the last line is a line end; less can have no effect or is refused.
        assert isinstance(cut, VmConfError) or TEXT[size:].isspace(), size


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<domain>",
        "<other/>",
        "<domain/>",
        XML.replace(">HostedEngine<", ">Other<"),
        XML.replace(f">{SPEC.uuid}<", f">{uuid(9)}<"),
        XML.replace("<lease>", "<other>").replace("</lease>", "</other>"),
        XML.replace('path="/lease"', 'path="/elsewhere"'),
        XML.replace(f">{SPEC.sd_uuid}<", f">{uuid(9)}<"),
        f'<!DOCTYPE d [<!ENTITY a "{"b" * 99}"><!ENTITY c "{"&a;" * 99}">]>{XML}',
        XML.replace("<devices>", "<devices>" + "<a>" * 5000 + "</a>" * 5000),
        XML.replace("HostedEngine", "Hosted\x01Engine"),
    ],
)
def test_xml_that_must_not_be_started(xml: str) -> None:
    assert isinstance(xml_of(with_xml(xml)), VmConfError)


@pytest.mark.parametrize(
    "less",
    [
        XML.replace("<lease>", "<other>").replace("</lease>", "</other>"),
        XML.replace('path="/lease"', ""),
        XML.replace(f"<lockspace>{SPEC.sd_uuid}</lockspace>", ""),
    ],
)
def test_without_a_lease_it_is_not_even_started_from_the_hosts_own(less: str) -> None:
    error = xml_of(with_xml(less), reference=None)
    assert isinstance(error, VmConfError)
    assert "could run on two hosts" in str(error)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("memSize=97", "memSize is there twice"),
        ("=x", "has no key"),
        ("devices=" + "{a:" * 5000, "braces within each other"),
        ("devices={type:disk,device:cdrom,path:/a,path:/b}", "path is there twice"),
        ("devices={type:disk", "a closing brace is missing"),
        ("devices={}x", "unexpected 'x'"),
        ("xmlBase64=é", "is there twice"),
    ],
)
def test_lines_that_are_refused(line: str, words: str) -> None:
    error = xml_of(f"{TEXT}{line}\n")
    assert isinstance(error, VmConfError)
    assert words in str(error)


@fuzz
@given(at=st.integers(0, len(TEXT)), more=texts, cut=st.integers(0, 40))
@example(at=0, more="xmlBase64=\n", cut=0)
@example(at=TEXT.index("xmlBase64=") + 10, more="\x80", cut=0)
def test_edits_of_any_kind(at: int, more: str, cut: int) -> None:
    xml_of(TEXT[:at] + more + TEXT[at + cut :])


@fuzz
@given(at=st.integers(0, len(XML)), more=texts, cut=st.integers(0, 40))
def test_edits_of_the_xml_of_any_kind(at: int, more: str, cut: int) -> None:
    changed = (XML[:at] + more + XML[at + cut :]).encode(errors="surrogatepass")
    xml_of(with_xml(changed.decode(errors="replace")))


@fuzz
@given(st.text(alphabet="abc=:,{}# \n", max_size=200))
@example("devices=" + "{a:" * 2000)
def test_lines_of_any_kind(text: str) -> None:
    try:
        conf = parse_vm_conf(text)
    except VmConfError:
        return
    assert isinstance(conf, VmConf)
    if all("=" in line for line in text.split() if not line.startswith("#")):
        again = parse_vm_conf(format_vm_conf(conf))
        assert (again.values, again.lists) == (conf.values, conf.lists)
