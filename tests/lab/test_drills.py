"""Drills on real hosts: the engine comes back from every fault, and never twice at once.

The first three are those of the Howto's FAQ. What they take is in docs/failover.md.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import care
from tests.lab.bare_lease import BareLease
from tests.lab.cluster import Lab
from tests.lab.drill_watch import (
    bring_into_step,
    emulators,
    kill_emulator,
    requests,
    starts,
    timing_of,
    vm_place,
)
from tests.lab.drills import HOST_BOOT_SECONDS, Bounds, drill, until_at_work

pytestmark = [pytest.mark.lab, pytest.mark.slow]
PROBES_SECONDS = 3  # five pings refused at once, half a second apart
NO_GATEWAY = """nft 'table ip drill { chain out {
  type filter hook output priority 0
  ip daddr 10.88.0.1 icmp type echo-request reject with icmp type host-unreachable
}
}'"""
GATEWAY_BACK = "nft delete table ip drill"
STUCK = "killall httpd acpid; true"


def test_the_hosts_power_is_lost(drill_lab: Lab) -> None:
    lab, bounds = drill_lab, Bounds(drill_lab)
    until_at_work(lab)
    host, other = care.engine_host(lab), care.idle_host(lab)
    bare = BareLease(lab)
    bare.hold(host)
    title = "The host that runs the engine VM loses its power"
    with drill(lab, "power-off", title, bound_seconds=bounds.dead + bounds.boot) as going_on:
        going_on.watch.fault(f"power-off {host}")
        began = time.time()
        taking = bare.take(other, going_on.limit_seconds)
        lab.power_off(host)
        going_on.until_started_again()
        going_on.measured["bare lease"] = taking.result() - began
        going_on.watch.told(f"power-on {host}")
        lab.power_on(host)
    assert care.engine_host(lab) != host
    lab.ssh(host, "hosted-engine", "--check-deployed")


def test_the_whole_cluster_loses_its_power(drill_lab: Lab) -> None:
    lab, bounds = drill_lab, Bounds(drill_lab)
    until_at_work(lab)
    names = [host.name for host in lab.hosts]
    bound = HOST_BOOT_SECONDS + bounds.join + bounds.alive + bounds.turns + bounds.boot
    with drill(lab, "cold-start", "The whole cluster boots from cold", bound_seconds=bound) as on:
        on.watch.told("power-off all")
        for name in names:
            lab.power_off(name)
        assert emulators(lab) == {}
        on.watch.fault("first kernel boots")
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lab.power_on, names))
        on.until_started_again()


def test_the_vm_is_killed(drill_lab: Lab) -> None:
    lab, bounds = drill_lab, Bounds(drill_lab)
    until_at_work(lab)
    host = care.engine_host(lab)
    with drill(
        lab, "vm-killed", "The engine VM is killed", bound_seconds=bounds.turns + bounds.boot
    ) as going_on:
        going_on.may_be_penalised = frozenset({host})
        going_on.watch.fault(f"kill -9 on {host}")
        kill_emulator(lab, host)
        going_on.until_started_again()
        assert care.engine_host(lab) != host


def test_the_engine_is_stuck(drill_lab: Lab) -> None:
    lab, bounds = drill_lab, Bounds(drill_lab)
    until_at_work(lab)
    timing = timing_of(lab)
    bound = timing.bad_health_seconds + timing.stopping_seconds + 2 * bounds.turns + bounds.boot
    title = "The engine answers nobody, and its VM does not shut down"
    with drill(lab, "engine-stuck", title, bound_seconds=bound) as going_on:
        lab.wait_until(
            lambda: lab.ssh("engine", STUCK, check=False).returncode == 0, 60, "it is broken"
        )
        going_on.watch.fault("engine and its power button are dead")
        going_on.until_started_again()


def test_the_gateway_is_lost(drill_lab: Lab) -> None:
    lab, bounds = drill_lab, Bounds(drill_lab)
    until_at_work(lab)
    host = care.engine_host(lab)
    bound = PROBES_SECONDS + 2 * bounds.turns + bounds.boot
    title = "The host that runs the engine VM loses its gateway"
    with drill(lab, "gateway-lost", title, bound_seconds=bound) as going_on:
        lab.ssh(host, NO_GATEWAY)
        try:
            going_on.watch.fault(f"no gateway on {host}")
            going_on.until_started_again()
            assert care.engine_host(lab) != host
        finally:
            lab.ssh(host, GATEWAY_BACK)
        going_on.watch.told("gateway back")


def test_the_storage_is_lost_on_the_vms_host(drill_lab: Lab) -> None:
    lab, bounds = drill_lab, Bounds(drill_lab)
    until_at_work(lab)
    host = care.engine_host(lab)
    title = "The host that runs the engine VM loses its storage"
    with drill(lab, "storage-lost", title, bound_seconds=bounds.dead + bounds.boot) as going_on:
        going_on.may_be_penalised = frozenset({host})
        going_on.watch.fault(f"storage of {host} hangs")
        lab.storage.hang(host, True)
        try:
            lab.wait_until(
                lambda: vm_place(lab) in {one.name for one in lab.hosts if one.name != host},
                going_on.limit_seconds,
                "the engine VM runs elsewhere",
            )
        finally:
            lab.storage.hang(host, False)
        going_on.watch.told("storage back")
        going_on.until_started_again()
    assert care.engine_host(lab) != host


@pytest.mark.parametrize("daemon", ["agent", "broker"])
def test_a_daemon_is_killed_on_the_vms_host(drill_lab: Lab, daemon: str) -> None:
    lab, bounds = drill_lab, Bounds(drill_lab)
    until_at_work(lab)
    host = care.engine_host(lab)
    unit = f"ovirt-ha-{daemon}"
    with drill(
        lab,
        f"{daemon}-killed",
        f"The {daemon} is killed where the engine VM runs",
        bound_seconds=HOST_BOOT_SECONDS + bounds.join + bounds.turns,
    ) as going_on:
        old = lab.ssh(host, "systemctl", "show", "-P", "MainPID", unit).stdout
        going_on.watch.fault(f"kill -9 of the {daemon} on {host}")
        lab.ssh(host, "systemctl", "kill", "--signal=KILL", unit)
        going_on.until_good(
            lambda: (
                lab.ssh(host, "systemctl", "show", "-P", "MainPID", unit).stdout not in (old, "0\n")
            )
        )
    assert going_on.same_boot()
    assert care.engine_host(lab) == host


def test_all_start_at_once_on_equal_scores_and_maintenance_holds_them(drill_lab: Lab) -> None:
    lab, bounds = drill_lab, Bounds(drill_lab)
    until_at_work(lab)
    first = lab.hosts[0].name
    title = "Killed in global maintenance; all hosts score the same when it ends"
    bound = bounds.alive + bounds.turns + bounds.boot
    with drill(lab, "equal-scores", title, bound_seconds=bound) as going_on:
        lab.ssh(first, "hosted-engine", "--set-maintenance", "--mode=global")
        lab.wait_until(lambda: care.states(lab) == care.HANDS_OFF, 60, "all keep off")
        going_on.watch.told("kill -9 in global maintenance")
        began = time.time()
        kill_emulator(lab, care.engine_host(lab))
        time.sleep(bounds.turns)  # nothing is to happen for so long
        assert starts(lab, began) == []
        assert emulators(lab) == {}
        bring_into_step(lab)
        going_on.watch.fault("maintenance ends")
        lab.ssh(first, *care.LEAVE_MAINTENANCE.split())
        going_on.until_started_again()
        tried = {host for host, _ in starts(lab, began)}
        print(f"{len(tried)} of {len(lab.hosts)} hosts tried to start the engine VM")


def test_the_vm_migrates_away(drill_lab: Lab) -> None:
    lab, bounds = drill_lab, Bounds(drill_lab)
    until_at_work(lab)
    host, other = care.engine_host(lab), care.idle_host(lab)
    address = lab.machine(other).host.address
    title = "Somebody migrates the engine VM, and tells no agent"
    with drill(lab, "migration", title, bound_seconds=2 * bounds.turns) as going_on:
        began = time.time()
        going_on.watch.fault(f"migrate {host} to {other}")
        move = ("virsh", "migrate", "--live", "--unsafe", "HostedEngine")
        lab.ssh(host, *move, f"qemu+tcp://{other}/system", f"tcp://{address}")
        going_on.until_good()
        assert requests(lab, began) == []
    assert going_on.same_boot()
    assert care.engine_host(lab) == other


def test_a_host_is_rebooted(drill_lab: Lab) -> None:
    lab, bounds = drill_lab, Bounds(drill_lab)
    until_at_work(lab)
    host, busy = care.idle_host(lab), care.engine_host(lab)
    bound = HOST_BOOT_SECONDS + bounds.join + bounds.turns
    with drill(lab, "reboot", "A host without the VM is rebooted", bound_seconds=bound) as going_on:
        going_on.watch.fault(f"reboot {host}")
        lab.ssh(host, "touch /run/before; systemctl reboot", check=False)
        back = "test ! -e /run/before && hosted-engine --check-deployed && systemctl is-active -q"
        units = "ovirt-ha-agent ovirt-ha-broker"
        going_on.until_good(lambda: lab.ssh(host, f"{back} {units}", check=False).returncode == 0)
    assert going_on.same_boot()
    assert care.engine_host(lab) == busy
