"""boot-rescue, whole, on fake hosts: down and proven down, the medium seen, and back again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.boot_rescue import boot_rescue
from tasks.gates import GateRejected
from tasks.journal import Kind, Phase
from tasks.lease import open_leases
from tasks.maintenance_checks import VM_CONF
from tasks.refusal import CheckRefused
from tasks.rescue_conf import boots_from
from tasks.rescue_power import VmNotDown
from tasks.waiting import TimedOut
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_host import FakeHost
from tests.fake_vm import NO, YES, add_vm

MEDIUM = "/var/lib/rescue.iso"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as cluster:
        add_vm(cluster)
        yield cluster


@pytest.fixture
def h1(cluster: FakeCluster) -> FakeHost:
    return cluster.hosts["h1"]


def gates(cluster: FakeCluster) -> list[str]:
    return [gate for gate, _ in cluster.asked]


def vm_calls(host: FakeHost) -> list[str]:
    return [call.split("/")[0] for call in host.calls("hosted-engine --vm-")]


def way_back(cluster: FakeCluster) -> str:
    journal = cluster.world.journal
    note = journal.find(journal.runs("lab")[0].run_id, Kind.RUN, "way_back", Phase.NOTE)
    assert note is not None
    return "\n".join(note.payload["lines"])


def test_it_boots_the_medium_and_comes_back(cluster: FakeCluster, h1: FakeHost) -> None:
    started: list[str] = []

    def look() -> None:
        started.append(h1.get("started"))

    cluster.answers, cluster.at_gate = [YES, YES], look
    boot_rescue.fn("lab", MEDIUM, menu=True)
    assert gates(cluster) == ["approve_rescue", "approve_rescue_done"]
    before, during = started
    assert before == ""
    assert boots_from(during) == MEDIUM
    assert "bootMenuEnable=true" in during
    assert vm_calls(h1) == [
        "hosted-engine --vm-shutdown",
        "hosted-engine --vm-start --vm-conf=",
        "hosted-engine --vm-shutdown",
        "hosted-engine --vm-start",
    ]
    assert (h1.get("vm"), h1.get("started")) == ("running", "")
    assert cluster.block(0).startswith(b"maintenance=0")
    assert open_leases("lab") == []
    evidence = cluster.asked[0][1]
    for wanted in (MEDIUM, "2048 bytes", "--vm-conf=", "SHA-256", "h1"):
        assert wanted in evidence


def test_it_boots_on_another_host_if_asked(cluster: FakeCluster, h1: FakeHost) -> None:
    cluster.answers = [YES, YES]
    boot_rescue.fn("lab", MEDIUM, host="h3")
    assert vm_calls(h1) == ["hosted-engine --vm-shutdown"]
    assert cluster.hosts["h3"].get("vm") == "running"


def test_an_engine_that_is_down_is_not_shut_down(cluster: FakeCluster, h1: FakeHost) -> None:
    h1.run(("hosted-engine", "--vm-poweroff"))
    cluster.world.clock.sleep(20)
    cluster.answers = [YES, YES]
    boot_rescue.fn("lab", MEDIUM)
    assert vm_calls(h1)[1] == "hosted-engine --vm-start --vm-conf="


def test_the_power_is_cut_only_with_a_persons_word(cluster: FakeCluster, h1: FakeHost) -> None:
    h1.set("stubborn", "")
    cluster.answers = [YES, NO]
    with pytest.raises(GateRejected):
        boot_rescue.fn("lab", MEDIUM)
    assert h1.get("vm") == "running"
    assert "leave-global-maintenance" in way_back(cluster)
    h1.run(("hosted-engine", "--set-maintenance", "--mode=none"))
    cluster.answers = [YES, YES, YES]
    boot_rescue.fn("lab", MEDIUM)
    assert gates(cluster)[-3:] == ["approve_rescue", "approve_power_off", "approve_rescue_done"]
    assert len(h1.calls("hosted-engine --vm-poweroff")) == 2  # the rescue system was stubborn, too


def test_a_power_cut_that_does_nothing_stops_the_run(cluster: FakeCluster, h1: FakeHost) -> None:
    h1.set("stubborn", "")
    h1.set("unkillable", "")
    cluster.answers = [YES, YES]
    with pytest.raises(VmNotDown, match="still has the engine VM"):
        boot_rescue.fn("lab", MEDIUM)
    assert h1.calls("hosted-engine --vm-start") == []


@pytest.mark.parametrize("lost", [False, True])
def test_a_lease_that_is_still_held_stops_the_start(
    cluster: FakeCluster, h1: FakeHost, lost: bool
) -> None:
    """On a host that has lost its configuration any VM's lease counts."""
    h2 = cluster.hosts["h2"]
    h2.set("leaked-lease", "")
    if lost:
        cluster.at_gate = (h2.root / "etc/ovirt-hosted-engine/hosted-engine.conf").unlink
    cluster.answers = [YES]
    with pytest.raises(TimedOut, match="the lease of its disk is held by h2"):
        boot_rescue.fn("lab", MEDIUM)
    assert h1.calls("hosted-engine --vm-start") == []


@pytest.mark.parametrize("unit", ["active", ""])
def test_a_sanlock_that_does_not_answer_may_hold_the_lease(
    cluster: FakeCluster, h1: FakeHost, unit: str
) -> None:
    h2 = cluster.hosts["h2"]
    h2.set("sanlock", unit)
    h2.set("sanlock-silent", "")
    cluster.answers = [YES]
    with pytest.raises(TimedOut, match="sanlock on h2 does not answer"):
        boot_rescue.fn("lab", MEDIUM)
    assert h1.calls("hosted-engine --vm-start") == []


def test_a_sanlock_that_is_off_holds_no_lease(cluster: FakeCluster, h1: FakeHost) -> None:
    h2 = cluster.hosts["h2"]
    h2.set("sanlock", "inactive")
    h2.set("sanlock-silent", "")
    cluster.answers = [YES, YES]
    boot_rescue.fn("lab", MEDIUM)
    assert h1.get("vm") == "running"


def test_its_console_says_that_it_is_up(cluster: FakeCluster, h1: FakeHost) -> None:
    h1.set("says", "booting\nrescue: up")
    cluster.answers = [YES, YES]
    boot_rescue.fn("lab", MEDIUM, console_says="rescue: up")
    evidence = cluster.asked[1][1]
    assert "rescue: up" in evidence
    assert "an old one" not in evidence


def test_what_an_earlier_boot_said_does_not_count(cluster: FakeCluster, h1: FakeHost) -> None:
    h1.set("says", "booting")
    cluster.answers = [YES]
    with pytest.raises(TimedOut, match="the console has not said 'rescue: up'"):
        boot_rescue.fn("lab", MEDIUM, console_says="rescue: up")


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ({"ignores-conf": ""}, f"no drive of the VM holds {MEDIUM}"),
        ({"read-bytes": "4096"}, "has read 4096 bytes"),
        ({"no-start": ""}, "libvirt has it on no host"),
    ],
)
def test_a_medium_that_did_not_boot_is_noticed(
    cluster: FakeCluster, h1: FakeHost, trouble: dict[str, str], told: str
) -> None:
    for key, value in trouble.items():
        h1.set(key, value)
    cluster.answers = [YES]
    with pytest.raises(TimedOut, match=told):
        boot_rescue.fn("lab", MEDIUM)
    assert cluster.block(0).startswith(b"maintenance=1")
    assert "virsh -r list" in way_back(cluster)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"medium": "/var/lib/none.iso"}, "is not there"),
        ({"medium": "relative.iso"}, "is not there"),
        ({"medium": MEDIUM, "host": "h9"}, "no host 'h9'"),
    ],
)
def test_what_cannot_be_booted_is_refused(
    cluster: FakeCluster, parameters: dict[str, str], told: str
) -> None:
    with pytest.raises(CheckRefused, match=told):
        boot_rescue.fn("lab", **parameters)
    assert way_back(cluster) == "Nothing has been changed."


def test_a_conf_without_devices_is_refused(cluster: FakeCluster, h1: FakeHost) -> None:
    Path(h1.here(VM_CONF)).write_text("vmName=x\nxmlBase64=%%%\n")
    with pytest.raises(CheckRefused, match="cannot be read"):
        boot_rescue.fn("lab", MEDIUM)


def test_a_host_in_local_maintenance_is_refused(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].run(("hosted-engine", "--set-maintenance", "--mode=local"))
    with pytest.raises(CheckRefused, match="local maintenance is on"):
        boot_rescue.fn("lab", MEDIUM, host="h2")


def test_a_medium_changed_at_the_gate_stops_the_run(cluster: FakeCluster, h1: FakeHost) -> None:
    def grow() -> None:
        (h1.root / MEDIUM.lstrip("/")).write_bytes(bytes(4096))

    cluster.answers, cluster.at_gate = [YES], grow
    with pytest.raises(CheckRefused, match="medium of 2048 bytes.*now it is 4096"):
        boot_rescue.fn("lab", MEDIUM)
    assert h1.get("vm") == "running"


def test_a_rejection_leaves_the_rescue_system(cluster: FakeCluster, h1: FakeHost) -> None:
    cluster.answers = [YES, NO]
    with pytest.raises(GateRejected):
        boot_rescue.fn("lab", MEDIUM)
    assert h1.get("started")
    assert cluster.block(0).startswith(b"maintenance=1")
    assert "If the rescue system runs" in way_back(cluster)


def test_the_engine_is_not_started_where_maintenance_went_during_the_rescue(
    cluster: FakeCluster, h1: FakeHost
) -> None:
    def gone() -> None:
        if gates(cluster)[-1] == "approve_rescue_done":
            h1.run(("hosted-engine", "--set-maintenance", "--mode=none"))
            h1.run(("hosted-engine", "--vm-poweroff"))
            cluster.world.clock.sleep(20)

    cluster.answers, cluster.at_gate = [YES, YES], gone
    with pytest.raises(CheckRefused, match="global maintenance is off"):
        boot_rescue.fn("lab", MEDIUM)
    assert vm_calls(h1).count("hosted-engine --vm-start") == 0
    told = way_back(cluster)
    assert "runbook run leave-global-maintenance --cluster lab --param end_others=true" in told
