"""`--vm-start`, `--vm-shutdown`, `--vm-poweroff`: 0 only for what was seen."""

import re
import xml.etree.ElementTree as ET

import pytest

from ha.core.sighting import VmState
from ha.env.ports import VmAlreadyRuns, VmLocked, VmMissing, VmStartFailed, VmTrouble, VmUnreachable
from ha.vm_conf import encode_xml, parse_vm_conf
from tests.ha.cli.sim import SimHost


def test_start(host: SimHost) -> None:
    assert host.run("--vm-start") == 0
    domain = ET.fromstring(host.vm.started[0])
    assert domain.get("type") == "qemu"
    assert domain.findtext("./sysinfo/system/entry[@name='serial']") == "h1"


@pytest.mark.parametrize("state", [VmState.DOWN, VmState.PAUSED])
def test_start_says_what_it_replaces(host: SimHost, state: VmState) -> None:
    host.vm.state = state
    assert host.run("--vm-start") == 0
    assert host.out[0] == f"VM exists and is {state.value}, cleaning up and restarting"


def test_start_paused_says_that_a_vm_that_is_down_is_replaced(host: SimHost) -> None:
    host.vm.state = VmState.DOWN
    assert host.run("--vm-start-paused") == 0
    assert host.out[0] == "VM exists and is Down, cleaning up and restarting"
    assert host.run("--vm-start-paused") == 0
    assert "cleaning up" not in host.said


def test_start_with_an_edited_copy_boots_the_rescue_medium(host: SimHost) -> None:
    text = host.paths.vm_conf.read_text()
    edited = text.replace("path:}", "path:/rescue.iso,bootOrder:1}").replace(
        "propagateErrors:off,bootOrder:1", "propagateErrors:off,bootOrder:2"
    )
    assert edited != text
    copy = host.write(host.root / "my.conf", edited)
    assert host.run("--vm-start", f"--vm-conf={copy}") == 0, host.complained
    domain = ET.fromstring(host.vm.started[0])
    cdrom = domain.find("./devices/disk[@device='cdrom']")
    assert cdrom is not None
    assert cdrom.find("source").attrib == {"file": "/rescue.iso"}  # type: ignore[union-attr]
    assert cdrom.find("boot").attrib == {"order": "1"}  # type: ignore[union-attr]
    assert domain.find("./devices/disk[@device='disk']/boot").attrib == {"order": "2"}  # type: ignore[union-attr]


def test_start_refuses_an_edit_that_takes_no_effect(host: SimHost) -> None:
    copy = host.write(
        host.root / "my.conf", host.paths.vm_conf.read_text().replace("memSize=96", "memSize=128")
    )
    assert host.run("--vm-start", f"--vm-conf={copy}") == 1
    assert "no effect here: memSize" in host.complained
    assert host.vm.started == []


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        (VmAlreadyRuns("Up"), "VM exists and its status is Up"),
        (VmLocked("Lease is held by another host"), "VM failed to launch: Lease is held"),
        (VmStartFailed("no such file"), "VM failed to launch: no such file"),
        (VmUnreachable("libvirt does not answer"), "It is not known whether"),
    ],
)
def test_start_refused(host: SimHost, trouble: Exception, text: str) -> None:
    host.vm.trouble = trouble
    assert host.run("--vm-start") == 1
    assert text in host.complained


def test_start_of_a_vm_that_is_gone_at_once(host: SimHost) -> None:
    host.vm.state_after_start = VmState.DOWN
    assert host.run("--vm-start") == 1
    assert host.complained == "VM failed to launch: it is Down"


def test_start_of_a_vm_that_never_gets_up(host: SimHost) -> None:
    host.vm.state_after_start = VmState.WAIT_FOR_LAUNCH
    assert host.run("--vm-start") == 1


def test_start_paused(host: SimHost) -> None:
    assert host.run("--vm-start-paused") == 0
    assert host.out[0] == "VM is Paused"
    assert "virsh resume HostedEngine" in host.said


def test_start_paused_of_a_vm_that_runs_all_the_same(host: SimHost) -> None:
    host.vm.forgets_pause = True
    assert host.run("--vm-start-paused") == 1
    assert host.complained == "VM failed to launch: it is Up"


def test_a_contradiction_is_refused_before_anything_is_started(host: SimHost) -> None:
    own = host.paths.vm_conf.read_text()
    xml = parse_vm_conf(own).xml or ""
    coded = encode_xml(xml.replace('<boot order="1" />', '<boot order="4" />'))
    edited = re.sub("xmlBase64=.*", f"xmlBase64={coded}", own).replace("bootOrder:1", "bootOrder:2")
    copy = host.write(host.root / "my.conf", edited)
    assert host.run("--vm-start", f"--vm-conf={copy}") == 1
    assert "disk bootOrder is '2' in the plain lines and '4' in the XML" in host.complained
    assert host.vm.started == []


def test_start_without_the_file(host: SimHost) -> None:
    assert host.run("--vm-start", "--vm-conf=/no/such.conf") == 1
    assert host.complained.startswith("/no/such.conf: file: cannot be read: ")


def test_start_without_vm_conf(host: SimHost) -> None:
    host.paths.vm_conf.unlink()
    assert host.run("--vm-start") == 1
    assert host.complained.splitlines() == [
        "The hosted engine configuration has not been retrieved from shared storage yet,",
        "please ensure that ovirt-ha-agent service is running.",
    ]
    host.services.active.add("ovirt-ha-agent")
    assert host.run("--vm-start") == 1
    assert host.complained.endswith("for more details please check sanlock status.")


def test_shutdown_and_poweroff(host: SimHost) -> None:
    host.vm.state = VmState.UP
    assert host.run("--vm-shutdown") == 0
    assert host.vm.state is VmState.POWERING_DOWN
    assert host.run("--vm-poweroff") == 0
    assert host.vm.state is VmState.MISSING


@pytest.mark.parametrize("verb", ["--vm-shutdown", "--vm-poweroff"])
@pytest.mark.parametrize(
    ("trouble", "text"),
    [(VmMissing("HostedEngine"), "Virtual machine does not exist"), (VmTrouble("no"), "no")],
)
def test_acts_refused(host: SimHost, verb: str, trouble: Exception, text: str) -> None:
    host.vm.trouble = trouble
    assert host.run(verb) == 1
    assert text in host.complained


def test_poweroff_that_did_not_help(host: SimHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.vm.state = VmState.UP
    monkeypatch.setattr(host.vm, "power_off", lambda: None)
    assert host.run("--vm-poweroff") == 1
