"""Both profiles of the upgrade, whole, on fake hosts with fake package managers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.upgrade import upgrade
from flows.upgrade_howto import by_howto
from tasks.env import use_world
from tasks.gates import GateRejected
from tasks.refusal import CheckRefused
from tasks.upgrade_settings import UpgradeSettings
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_packages import ENGINE_V2, V1, V2, add_packages, engine_of
from tests.fake_vm import NO, YES
from tests.upgraded import (
    engine_on,
    out_of_service,
    outcomes,
    steps,
    versions,
    with_vdsm,
)

NIGHT = UpgradeSettings(window_start="22:00", window_end="04:00")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as bare, use_world(add_packages(bare)):
        yield bare


def test_engine_first_then_the_canary_then_the_others_the_vms_host_last(
    cluster: FakeCluster,
) -> None:
    cluster.answers = [YES, YES]
    upgrade.fn("lab")
    assert versions(cluster) == ["2.0-1"] * 3
    assert {host.get("installed") for host in cluster.hosts.values()} == {V2}
    assert sorted(engine_of(cluster).get("installed").splitlines()) == sorted(
        ENGINE_V2.splitlines()
    )
    assert out_of_service(cluster) == []
    assert cluster.block(0).startswith(b"maintenance=0")
    assert [gate for gate, _ in cluster.asked] == ["approve_upgrade", "approve_rest"]
    sent = [step.split(".")[0] + "@" + step.split("@")[1] for step in steps(cluster)]
    assert sent.index("run_engine_setup@engine") < sent.index("update_packages@h2")
    updates = [step for step in sent if step.startswith("update_packages")]
    assert updates == ["update_packages@h2", "update_packages@h3", "update_packages@h1"]
    # The VM left h1 while it ran, before h1 left service.
    assert sent.index("move_engine_vm@h1") < sent.index("enter_local_maintenance@h1")
    assert engine_on(cluster) == ["h2"]
    h1 = cluster.hosts["h1"]
    assert h1.calls("hosted-engine --vm-") == []


def test_the_gate_shows_order_versions_commands_and_way_back(cluster: FakeCluster) -> None:
    cluster.answers = [NO]
    with pytest.raises(GateRejected):
        upgrade.fn("lab")
    [(_, evidence)] = cluster.asked
    for wanted in ("**h2, h3, h1**", "**2.0-1**", "dnf -y update", "engine-setup", "history undo"):
        assert wanted in evidence
    assert steps(cluster) == []


def test_the_howto_brings_the_vm_to_the_first_host_and_keeps_hands_off(
    cluster: FakeCluster,
) -> None:
    cluster.answers = [YES, YES]
    by_howto.fn("lab")
    assert versions(cluster) == ["2.0-1"] * 3
    assert (engine_on(cluster), out_of_service(cluster)) == (["h2"], [])
    assert cluster.block(0).startswith(b"maintenance=0")
    sent = steps(cluster)
    for host in ("h2", "h3", "h1"):
        off = sent.index(f"leave_for_a_look.{host}.1@h2")
        # By the file: upstream's command would have ended global maintenance.
        inside = sent.index(f"enter_local_maintenance.by-file@{host}")
        assert inside < sent.index(f"update_packages.1@{host}") < off
    assert [host.calls("hosted-engine --set-maintenance --mode=local") for host in
            cluster.hosts.values()] == [[]] * 3  # fmt: skip
    assert "move_engine_vm" not in " ".join(sent)


def test_a_second_run_has_nothing_to_do_and_asks_nothing(cluster: FakeCluster) -> None:
    cluster.answers = [YES, YES]
    upgrade.fn("lab")
    upgrade.fn("lab")
    assert steps(cluster) == []
    assert set(outcomes(cluster).values()) == {"already"}
    assert len(cluster.asked) == 2


def test_without_a_way_into_the_engine_vm_only_hosts_are_upgraded(cluster: FakeCluster) -> None:
    known = cluster.world.inventory
    lab = known.cluster("lab").model_copy(update={"engine": None})
    inventory = known.model_copy(update={"clusters": {"lab": lab}})
    cluster.world = replace(cluster.world, inventory=inventory)
    cluster.answers = [YES, YES]
    with use_world(cluster.world):
        upgrade.fn("lab")
    assert versions(cluster) == ["2.0-1"] * 3
    assert [c for h in cluster.hosts.values() for c in h.calls("hosted-engine --set-maintenance")
            if "global" in c] == []  # fmt: skip


def test_a_host_in_local_maintenance_is_upgraded_and_stays_there(cluster: FakeCluster) -> None:
    h3 = cluster.hosts["h3"]
    h3.run(("hosted-engine", "--set-maintenance", "--mode=local"))
    cluster.answers = [YES, YES]
    upgrade.fn("lab")
    assert versions(cluster) == ["2.0-1"] * 3
    assert out_of_service(cluster) == ["h3"]


def test_a_rejection_after_the_canary_leaves_the_others_as_they_are(cluster: FakeCluster) -> None:
    cluster.answers = [YES, NO]
    with pytest.raises(GateRejected, match="approve_rest"):
        upgrade.fn("lab")
    assert versions(cluster) == ["1.0-1", "2.0-1", "1.0-1"]
    assert (out_of_service(cluster), engine_on(cluster)) == ([], ["h1"])


def test_a_closed_window_refuses_and_may_be_passed_over(tmp_path: Path) -> None:
    with fake_cluster(tmp_path, bad={}) as bare, use_world(add_packages(bare, NIGHT)):
        with pytest.raises(CheckRefused, match="22:00 to 04:00, UTC"):
            upgrade.fn("lab")
        bare.answers = [YES, YES]
        upgrade.fn("lab", None, "allow")
        assert versions(bare) == ["2.0-1"] * 3


def test_a_window_that_closes_stops_before_the_next_host(tmp_path: Path) -> None:
    noon = UpgradeSettings(window_start="11:00", window_end="13:00")
    with fake_cluster(tmp_path, bad={}) as bare, use_world(add_packages(bare, noon)):
        clock = bare.world.clock

        def late() -> None:
            if len(bare.asked) == 2:
                clock.sleep(3600)

        bare.at_gate = late
        bare.answers = [YES, YES]
        with pytest.raises(CheckRefused, match="window of lab is closed"):
            upgrade.fn("lab")
        assert versions(bare) == ["1.0-1", "2.0-1", "1.0-1"]
        assert out_of_service(bare) == []


def test_where_vdsm_is_a_person_acts_in_the_engine_and_is_checked(cluster: FakeCluster) -> None:
    with_vdsm(cluster)
    cluster.answers = [YES] * 20

    def in_engine() -> None:
        gate = cluster.asked[-1][0]
        if not gate.startswith("approve_host_"):
            return
        host = cluster.hosts[gate.rpartition("-")[2]]
        conf = host.root / "var/lib/ovirt-hosted-engine-ha/ha.conf"
        if "out" in gate:
            if host.get("vm"):
                (host.root / "state/vm").rename(cluster.hosts["h2"].root / "state/vm")
            conf.write_text("local_maintenance=True\nlocal_maintenance_manual=False\n")
        else:
            conf.write_text("local_maintenance=False\nlocal_maintenance_manual=False\n")

    cluster.at_gate = in_engine
    upgrade.fn("lab")
    assert versions(cluster) == ["2.0-1"] * 3
    asked = [gate for gate, _ in cluster.asked]
    assert asked[:4] == [
        "approve_upgrade",
        "approve_host_out-h2",
        "approve_host_back-h2",
        "approve_rest",
    ]
    assert not [c for h in cluster.hosts.values() for c in h.calls("virsh migrate")]


def test_what_the_engine_was_to_do_is_checked(cluster: FakeCluster) -> None:
    with_vdsm(cluster)
    cluster.answers = [YES, YES]
    with pytest.raises(CheckRefused, match="h2 is not in maintenance"):
        upgrade.fn("lab")
    assert [gate for gate, _ in cluster.asked] == ["approve_upgrade", "approve_host_out-h2"]
    assert cluster.hosts["h2"].get("installed") == V1
