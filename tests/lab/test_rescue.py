"""boot-rescue on real hosts: the rescue medium really boots, and the engine comes back."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.boot_rescue import boot_rescue
from tests.lab import care
from tests.lab.cluster import Lab
from tests.lab.control_node import APPROVER, ControlNode
from tests.lab.rescue_medium import UP, make_rescue_medium

pytestmark = [pytest.mark.lab, pytest.mark.slow]
MEDIUM = "/var/tmp/rescue.iso"
SERIAL_LOG = "/var/log/libvirt/qemu/HostedEngine-serial.log"
APPROVE = {"decision": "approve", "approver": APPROVER, "reason": "a test of the lab"}


@pytest.fixture
def settled(lab: Lab) -> Iterator[Lab]:
    care.wait_until_settled(lab)
    yield lab
    if not lab.engine_answers():
        # The rescue system of a run that failed: HA starts the engine again.
        care.on_all(lab, "virsh", "destroy", "HostedEngine")
    care.mend(lab)


def test_the_rescue_medium_boots_and_the_engine_comes_back(
    settled: Lab, control_node: ControlNode
) -> None:
    lab, host, boot = settled, care.engine_host(settled), care.boot_of_engine(settled)
    root = lab.machine(host).root
    make_rescue_medium(Path(lab.parts.state.image), root / MEDIUM.lstrip("/"))
    asked: dict[str, str] = {}

    def ask(gate: str, shown: Mapping[str, Any]) -> Mapping[str, Any]:
        asked[gate] = shown["evidence"]
        if gate == "approve_rescue_done":
            in_the_rescue_system(lab, host, boot)
        return APPROVE

    with control_node.here(ask):
        boot_rescue.fn("lab", MEDIUM, console_says=UP)
    assert list(asked) == ["approve_rescue", "approve_rescue_done"]
    assert MEDIUM in asked["approve_rescue"]
    assert UP in asked["approve_rescue_done"]
    assert care.states(lab) == care.AT_WORK
    assert care.boot_of_engine(lab) != boot
    assert lab.overlaps() == []
    assert MEDIUM not in lab.ssh(care.engine_host(lab), "virsh dumpxml HostedEngine").stdout


def in_the_rescue_system(lab: Lab, host: str, boot: str) -> None:
    """See that the medium runs in the engine's place, and that HA keeps its hands off."""
    said = lab.ssh(host, "tail", "-c", "400", SERIAL_LOG).stdout
    assert said.rindex(UP) > said.rfind("engine stand-in: up")
    assert not lab.engine_answers()
    assert care.boot_of_engine(lab) == boot
    assert care.states(lab) == care.HANDS_OFF
