"""The HA monitor on real hosts: the engine comes back wherever it was lost, and never twice."""

import pytest

from tests.lab.cluster import Lab
from tests.lab.heartbeats import spans

pytestmark = [pytest.mark.lab, pytest.mark.slow]
BACK_WITHIN_SECONDS = 180


def engine_host(lab: Lab) -> str:
    """The host that runs the engine VM, as libvirt says."""
    running = [
        host.name
        for host in lab.hosts
        if "HostedEngine" in lab.ssh(host.name, "virsh", "list", "--name", check=False).stdout
    ]
    assert len(running) == 1
    return running[0]


def require_one_life_at_a_time(lab: Lab, boots: int) -> None:
    """Wait for a boot after the first `boots`, and hold them all against each other."""
    lab.wait_until(lambda: len(spans(lab.heartbeats())) > boots, BACK_WITHIN_SECONDS, "a new boot")
    assert lab.overlaps() == []


def test_engine_comes_back_elsewhere_when_its_host_loses_power(lab: Lab) -> None:
    boots, host = len(spans(lab.heartbeats())), engine_host(lab)
    lab.power_off(host)
    require_one_life_at_a_time(lab, boots)
    lab.power_on(host)
    lab.wait_for_engine(BACK_WITHIN_SECONDS)
    assert engine_host(lab) != host


def test_engine_comes_back_when_its_vm_is_killed(lab: Lab) -> None:
    boots, host = len(spans(lab.heartbeats())), engine_host(lab)
    lab.kill_vm(host)
    require_one_life_at_a_time(lab, boots)
    lab.wait_for_engine(BACK_WITHIN_SECONDS)


def test_a_rebooted_host_rejoins_by_itself(lab: Lab) -> None:
    host = next(one.name for one in lab.hosts if one.name != engine_host(lab))
    lab.ssh(host, "touch /run/before; systemctl reboot", check=False)
    rejoined = "test ! -e /run/before && hosted-engine --check-deployed && systemctl is-active -q"
    units = "ovirt-ha-agent ovirt-ha-broker"
    lab.wait_until(
        lambda: lab.ssh(host, f"{rejoined} {units}", check=False).returncode == 0,
        BACK_WITHIN_SECONDS,
        f"{host} is back with its services",
    )
    published = (
        f"hosted-engine --vm-status | grep -A 12 'Host {host}.lab' | grep 'up-to-date.*True'"
    )
    lab.wait_until(
        lambda: lab.ssh(host, published, check=False).returncode == 0,
        BACK_WITHIN_SECONDS,
        f"{host} publishes again",
    )
