"""The lab itself: its hosts, its switches, and that sanlock guards the engine VM in it."""

import subprocess
import tomllib

import pytest

from tests.lab import state
from tests.lab.by_hand import ByHand
from tests.lab.cluster import Lab
from tests.lab.commands import CommandFailed, LabError, run
from tests.lab.heartbeats import overlaps, read_heartbeats, spans
from tests.lab.network import HOST_BRIDGE, host_mac

pytestmark = pytest.mark.lab
TAKEN_OVER_WITHIN_SECONDS = 60


@pytest.fixture(autouse=True)
def _all_hosts_on_and_in_the_lockspace(by_hand: ByHand) -> None:
    by_hand.lab.up()
    by_hand.join_all()


def started(by_hand: ByHand, host: str) -> None:
    """Start the engine VM on the host alone, and wait until it answers."""
    for other in by_hand.lab.hosts:
        by_hand.lab.ssh(other.name, "virsh", "destroy", "HostedEngine", check=False)
    by_hand.start(host)
    by_hand.lab.wait_for_engine(60)


def test_hosts_run_systemd_sanlock_and_libvirt_without_a_failed_unit(by_hand: ByHand) -> None:
    for host in by_hand.lab.hosts:
        said = by_hand.lab.ssh(host.name, "hostname; systemctl is-system-running").stdout.split()
        assert said == [host.fqdn, "running"]
        by_hand.lab.ssh(host.name, "systemctl", "is-active", "sanlock", "libvirtd")


def test_up_twice_keeps_the_lab(by_hand: ByHand) -> None:
    before = by_hand.lab.ssh("h1", "cat", "/proc/sys/kernel/random/boot_id", "/etc/machine-id")
    by_hand.lab.up()
    after = by_hand.lab.ssh("h1", "cat", "/proc/sys/kernel/random/boot_id", "/etc/machine-id")
    assert after.stdout == before.stdout


def test_up_with_other_choices_is_refused(by_hand: ByHand) -> None:
    with pytest.raises(LabError, match="is up with hosts 3, not 2"):
        Lab(by_hand.lab.name, hosts=2).up()


def test_the_inventory_names_every_host(by_hand: ByHand) -> None:
    cluster = tomllib.loads(by_hand.lab.inventory_path.read_text())["clusters"]["lab"]
    assert [host["host_id"] for host in cluster["hosts"]] == [1, 2, 3]
    proxy = [word.format(address="10.88.0.12", port=22) for word in cluster["ssh"]["proxy_command"]]
    banner = subprocess.run(proxy, capture_output=True, timeout=10, check=False, input=b"").stdout
    assert banner.startswith(b"SSH-2.0-OpenSSH")


def test_an_unknown_host_key_is_refused(by_hand: ByHand) -> None:
    known = by_hand.lab.known_hosts
    kept = known.read_text()
    keys = kept.splitlines()
    try:
        # h1's name with h2's key
        known.write_text(f"{keys[0].rsplit(' ', 1)[0]} {keys[1].rsplit(' ', 1)[1]}\n")
        with pytest.raises(CommandFailed, match="Host key verification failed"):
            by_hand.lab.ssh("h1", "true")
    finally:
        known.write_text(kept)


def test_a_reboot_comes_back_by_itself(by_hand: ByHand) -> None:
    by_hand.lab.ssh("h3", "touch /run/before; systemctl reboot", check=False)
    rebooted = "test ! -e /run/before"
    by_hand.lab.wait_until(
        lambda: by_hand.lab.ssh("h3", rebooted, check=False).returncode == 0, 30, "h3 is back"
    )


def test_a_host_keeps_its_disk_over_a_loss_of_power(by_hand: ByHand) -> None:
    by_hand.lab.ssh("h3", "echo kept > /root/kept; sync")
    by_hand.lab.power_off("h3")
    assert not by_hand.lab.machine("h3").has_power()
    by_hand.lab.power_on("h3")
    assert by_hand.lab.ssh("h3", "cat", "/root/kept").stdout == "kept\n"


def test_a_pulled_cable_cuts_the_host_off_until_it_is_healed(by_hand: ByHand) -> None:
    by_hand.lab.cut("h2")
    assert not by_hand.lab.access.answers("h2")
    by_hand.lab.heal("h2")
    by_hand.lab.wait_until(lambda: by_hand.lab.access.answers("h2"), 10, "h2 answers")


def test_a_bridge_keeps_its_address_whatever_joins_it(by_hand: ByHand) -> None:
    addresses = ["cat", "/sys/class/net/eth0/address", f"/sys/class/net/{HOST_BRIDGE}/address"]
    before = by_hand.lab.ssh("h1", *addresses).stdout.split()
    lower = f"ip link add low0 address 02:00:00:00:00:01 master {HOST_BRIDGE} type veth"
    by_hand.lab.ssh("h1", lower)
    try:
        after = by_hand.lab.ssh("h1", *addresses).stdout.split()
    finally:
        by_hand.lab.ssh("h1", "ip link del low0")
    assert before == after == [host_mac(1), host_mac(1)]


def test_the_engine_stand_in_says_where_it_runs(by_hand: ByHand) -> None:
    started(by_hand, "h1")
    serial = by_hand.lab.ssh("engine", "cat", "/sys/class/dmi/id/product_serial")
    assert serial.stdout == "h1.lab\n"
    by_hand.lab.wait_until(
        lambda: any(beat.host == "h1.lab" for beat in read_heartbeats(by_hand.disk)), 10, "a beat"
    )


def test_a_second_copy_is_refused_by_the_lease(by_hand: ByHand) -> None:
    started(by_hand, "h1")
    refused = by_hand.start("h2", check=False)
    assert "Failed to acquire lock: Lease is held by another host" in refused.stderr


def test_the_power_button_shuts_the_engine_down_and_frees_its_lease(by_hand: ByHand) -> None:
    started(by_hand, "h1")
    by_hand.lab.ssh("h1", "virsh", "shutdown", "HostedEngine")
    gone = "! virsh domstate HostedEngine"
    by_hand.lab.wait_until(
        lambda: by_hand.lab.ssh("h1", gone, check=False).returncode == 0, 20, "the VM is gone"
    )
    by_hand.start("h3")


@pytest.mark.slow
def test_another_host_takes_the_engine_over_from_one_without_power(by_hand: ByHand) -> None:
    started(by_hand, "h1")
    by_hand.lab.power_off("h1")
    by_hand.lab.wait_until(
        lambda: by_hand.start("h2", check=False).returncode == 0,
        TAKEN_OVER_WITHIN_SECONDS,
        "h2 gets the lease",
    )
    by_hand.lab.wait_until(
        lambda: spans(read_heartbeats(by_hand.disk))[-1].host == "h2.lab", 60, "h2's engine beats"
    )
    assert overlaps(read_heartbeats(by_hand.disk)) == []


def test_a_lab_leaves_nothing_behind_even_after_it_was_killed() -> None:
    lab = Lab("left-behind", storage="block", hosts=1)
    lab.up()
    parts = lab.parts
    parts.group.kill()
    assert not lab.is_up()
    lab.up()
    assert lab.parts.state.instance != parts.state.instance
    assert lab.access.answers("h1")
    last = lab.parts
    lab.down()
    lab.down()
    assert not state.lab_dir("left-behind").exists()
    for group in (parts.group, last.group):
        assert not [folder for folder in group.folders if folder.exists()]
    assert not last.network.exists()
    assert not parts.network.exists()
    assert "left-behind" not in run(["losetup", "-a"]).stdout
