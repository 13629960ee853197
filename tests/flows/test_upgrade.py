"""Both profiles of the upgrade, whole, on fake hosts with fake package managers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from flows.upgrade import upgrade
from flows.upgrade_howto import by_howto
from runbooks.catalogue import catalogue
from tasks.engine_site import EngineStepFailed
from tasks.env import HostUnreachable, use_world
from tasks.gates import GateRejected
from tasks.journal import Kind, Phase
from tasks.refusal import CheckRefused
from tasks.runs import entered_run
from tasks.upgrade_hosts import UpdateFailed
from tasks.upgrade_settings import UpgradeSettings
from tasks.waiting import TimedOut
from tests.fake_cluster import FakeCluster, fake_cluster, unreachable
from tests.fake_packages import ENGINE_V2, V1, V2, add_packages, engine_of
from tests.fake_vm import NO, YES

NIGHT = UpgradeSettings(window_start="22:00", window_end="04:00")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as bare, use_world(add_packages(bare)):
        yield bare


@pytest.fixture
def impatient() -> Iterator[None]:
    """Waits that are bound to fail end soon: each look is many commands."""
    short = {"engine_back_seconds": 12, "live_seconds": 20, "stable_seconds": 45}
    entries = {
        name: replace(entry, limits={**entry.limits, **short})
        for name, entry in catalogue().items()
    }
    with mock.patch("tasks.limits.catalogue", return_value=entries):
        yield


def versions(cluster: FakeCluster) -> list[str]:
    return [host.get("version") for host in cluster.hosts.values()]


def engine_on(cluster: FakeCluster) -> list[str]:
    return [host.name for host in cluster.hosts.values() if host.get("vm")]


def out_of_service(cluster: FakeCluster) -> list[str]:
    return [host.name for host in cluster.hosts.values() if host.in_local_maintenance]


def last_run(cluster: FakeCluster) -> str:
    return cluster.world.journal.runs("lab")[0].run_id


def steps(cluster: FakeCluster, phase: Phase = Phase.INTENT) -> list[str]:
    entries = cluster.world.journal.entries(last_run(cluster), kinds=(Kind.REMOTE,))
    return [entry.step for entry in entries if entry.phase is phase]


def outcomes(cluster: FakeCluster) -> dict[str, str]:
    entries = cluster.world.journal.entries(last_run(cluster), kinds=(Kind.CHANGE,))
    ended = [entry for entry in entries if entry.phase is Phase.OUTCOME]
    return {entry.step: entry.payload["value"] for entry in ended}


def again(cluster: FakeCluster, runbook: str = "upgrade", run_id: str = "") -> None:
    """Enter a run again, as Prefect's retry does."""
    flow = upgrade if runbook == "upgrade" else by_howto
    body = flow.fn.__wrapped__  # type: ignore[attr-defined]
    run_id = run_id or last_run(cluster)
    with entered_run(runbook, parameters={"cluster": "lab"}, run_id=run_id):
        body("lab")


def with_vdsm(cluster: FakeCluster) -> None:
    for host in cluster.hosts.values():
        (host.root / "bin/vdsm-client").write_text("#!/bin/sh\n")
        (host.root / "bin/vdsm-client").chmod(0o755)


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


def test_an_update_that_fails_half_way_stops_there_and_a_retry_goes_on(
    cluster: FakeCluster,
) -> None:
    cluster.hosts["h2"].set("half", "vdsm-like")
    cluster.answers = [YES, YES]
    with pytest.raises(UpdateFailed) as failed:
        upgrade.fn("lab")
    said = str(failed.value)
    for wanted in ("h2", "exit code 1", "2.0-1", "vdsm-like 2.0-1", "PREIN", "stays in local"):
        assert wanted in said
    assert out_of_service(cluster) == ["h2"]
    assert {cluster.hosts[name].get("installed") for name in ("h1", "h3")} == {V1}
    (cluster.hosts["h2"].root / "state/half").unlink()
    again(cluster)
    assert versions(cluster) == ["2.0-1"] * 3
    assert out_of_service(cluster) == []
    sent = steps(cluster)
    assert [step for step in sent if step.endswith("@h2") and "update" in step] == [
        "update_packages.1@h2",
        "update_packages.2@h2",
    ]
    assert sent.count("run_engine_setup.1@engine") == 1


def test_a_new_run_goes_on_where_a_failed_one_stopped(cluster: FakeCluster) -> None:
    cluster.hosts["h3"].set("half", "vdsm-like")
    cluster.answers = [YES, YES, YES, YES]
    with pytest.raises(UpdateFailed):
        upgrade.fn("lab")
    (cluster.hosts["h3"].root / "state/half").unlink()
    upgrade.fn("lab")
    assert versions(cluster) == ["2.0-1"] * 3
    # h2 was done; h3 was left in local maintenance by us, and is brought back.
    assert not [step for step in steps(cluster) if step.endswith("@h2") and "update" in step]
    assert out_of_service(cluster) == []


def test_a_failed_scriptlet_is_noticed_although_dnf_ends_with_0(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].set("post", "yes")
    cluster.answers = [YES]
    with pytest.raises(UpdateFailed, match=r"exit code 0.*scriptlet failed"):
        upgrade.fn("lab")
    assert out_of_service(cluster) == ["h2"]


def test_a_host_in_local_maintenance_is_upgraded_and_stays_there(cluster: FakeCluster) -> None:
    h3 = cluster.hosts["h3"]
    h3.run(("hosted-engine", "--set-maintenance", "--mode=local"))
    cluster.answers = [YES, YES]
    upgrade.fn("lab")
    assert versions(cluster) == ["2.0-1"] * 3
    assert out_of_service(cluster) == ["h3"]


@pytest.mark.usefixtures("impatient")
def test_an_agent_that_does_not_start_stops_the_upgrade(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].set("bad-agent", "yes")
    cluster.answers = [YES]
    with pytest.raises(TimedOut, match="h2 runs 2.0-1.*agent failed"):
        upgrade.fn("lab")
    assert cluster.hosts["h3"].get("installed") == V1
    assert out_of_service(cluster) == ["h2"]


@pytest.mark.usefixtures("impatient")
def test_a_score_that_is_lost_stops_the_upgrade(cluster: FakeCluster) -> None:
    h2 = cluster.hosts["h2"]

    def worse(argv: object) -> None:
        if h2.get("version") == "2.0-1":
            h2.score = 1800

    h2.before = worse
    cluster.answers = [YES]
    with pytest.raises(TimedOut, match="h2 has score 1800, before 3400"):
        upgrade.fn("lab")
    assert cluster.hosts["h3"].get("installed") == V1
    assert out_of_service(cluster) == []


def test_a_rejection_after_the_canary_leaves_the_others_as_they_are(cluster: FakeCluster) -> None:
    cluster.answers = [YES, NO]
    with pytest.raises(GateRejected, match="approve_rest"):
        upgrade.fn("lab")
    assert versions(cluster) == ["1.0-1", "2.0-1", "1.0-1"]
    assert (out_of_service(cluster), engine_on(cluster)) == ([], ["h1"])


def test_an_engine_setup_that_fails_stays_in_global_maintenance(cluster: FakeCluster) -> None:
    engine_of(cluster).set("setup-fails", "yes")
    cluster.answers = [YES, YES]
    with pytest.raises(EngineStepFailed, match=r"engine-setup --accept-defaults.*exit code 1"):
        upgrade.fn("lab")
    assert cluster.block(0).startswith(b"maintenance=1")
    (engine_of(cluster).root / "state/setup-fails").unlink()
    again(cluster)
    assert "run_engine_setup.2@engine" in steps(cluster)
    assert versions(cluster) == ["2.0-1"] * 3


def test_an_engine_setup_that_says_nothing_of_success_counts_as_failed(
    cluster: FakeCluster,
) -> None:
    engine_of(cluster).set("setup-lies", "yes")
    cluster.answers = [YES]
    with pytest.raises(EngineStepFailed, match="exit code 0; still to be upgraded: the engine"):
        upgrade.fn("lab")


@pytest.mark.usefixtures("impatient")
def test_an_engine_that_does_not_come_back_is_waited_for_and_told(cluster: FakeCluster) -> None:
    engine = engine_of(cluster)

    def vanish(argv: object) -> None:
        if "2.0-1" in engine.get("installed") and "base 2.0-1" in engine.get("installed"):
            for host in cluster.hosts.values():
                host.set("engine", "down")

    engine.before = vanish
    cluster.answers = [YES]
    with pytest.raises(TimedOut, match="the engine is back after its upgrade: not within 12 s"):
        upgrade.fn("lab")
    note = cluster.world.journal.find(last_run(cluster), Kind.RUN, "way_back", Phase.NOTE)
    assert note is not None
    assert "--vm-start" in "\n".join(note.payload["lines"])
    assert cluster.block(0).startswith(b"maintenance=1")
    assert {host.get("installed") for host in cluster.hosts.values()} == {V1}


def test_an_engine_vm_that_powered_itself_off_is_started_again(cluster: FakeCluster) -> None:
    engine = engine_of(cluster)

    def power_off(argv: object) -> None:
        if "base 2.0-1" in engine.get("installed") and not engine.get("was-off"):
            engine.set("was-off", "yes")
            (cluster.hosts["h1"].root / "state/vm").unlink()

    engine.before = power_off
    cluster.answers = [YES, YES]
    upgrade.fn("lab")
    assert outcomes(cluster)["start_engine_vm"] == "changed"
    assert versions(cluster) == ["2.0-1"] * 3


def test_a_new_kernel_restarts_the_engine_vm(cluster: FakeCluster) -> None:
    engine = engine_of(cluster)
    engine.set("offered", f"{ENGINE_V2}\nkernel 2.0-1")
    engine.set("installed", f"{engine.get('installed')}\nkernel 1.0-1")
    engine.set("reboot", "yes")

    def boot(argv: object) -> None:
        if not engine_on(cluster):
            (engine.root / "state/reboot").unlink(missing_ok=True)

    for host in cluster.hosts.values():
        host.before = boot
    cluster.answers = [YES, YES]
    upgrade.fn("lab")
    done = outcomes(cluster)
    assert (done["shut_engine_vm_down"], done["start_engine_vm"]) == ("changed", "changed")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda c: c.hosts["h3"].set("no-repository", "yes"), "h3: `dnf check-update` ended with"),
        (lambda c: c.hosts["h3"].set("offered", V1), "not end at one version"),
        (lambda c: c.hosts["h3"].set("installed", ""), "h3: no package is, or provides"),
        (lambda c: c.hosts["h3"].set("version", "9.0-1"), "h3 has 9.0-1, newer than 2.0-1"),
        (lambda c: c.hosts["h3"].set("no-libvirt", "") or c.hosts["h1"].set("no-libvirt", ""),
         "could not be moved"),
        (lambda c: c.hosts["h1"].set("engine", "down"), None),
        (lambda c: c.put(52, b"2|2|1|52|0|x|h".ljust(4096, b"\0")), "block 52"),
    ],
)  # fmt: skip
def test_what_is_not_in_order_is_refused_before_anything_changes(
    cluster: FakeCluster, prepare: object, said: str | None
) -> None:
    assert callable(prepare)
    prepare(cluster)
    if said is None:
        for host in cluster.hosts.values():
            host.set("engine", "down")
        said = "is not up"
    with pytest.raises(CheckRefused, match=said):
        upgrade.fn("lab")
    assert steps(cluster) == []
    assert cluster.asked == []


def test_a_full_var_is_refused(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].set("df", "Filesystem 1K used avail\n/dev/x 9 9 2048 1% /var")
    with pytest.raises(CheckRefused, match="h2: 2 MiB are free in /var"):
        upgrade.fn("lab")


def test_packages_that_change_after_the_approval_are_noticed(cluster: FakeCluster) -> None:
    cluster.at_gate = lambda: cluster.hosts["h3"].set("offered", V2.replace("like 2", "like 3"))
    cluster.answers = [YES]
    with pytest.raises(CheckRefused, match="h3: the packages have changed"):
        upgrade.fn("lab")
    assert steps(cluster) == []


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


def test_contact_that_is_lost_in_the_update_is_found_again(cluster: FakeCluster) -> None:
    h2 = cluster.hosts["h2"]
    lost: list[str] = []

    def lose(argv: object) -> None:
        if "update_packages.1@h2" in steps(cluster) and not lost:
            lost.append("once")
            raise unreachable("h2")

    h2.before = lose
    cluster.answers = [YES, YES]
    with pytest.raises(HostUnreachable):
        upgrade.fn("lab")
    again(cluster)
    assert versions(cluster) == ["2.0-1"] * 3
    assert [call for call in h2.calls("dnf") if "-y" in call] == ["dnf -y update"]
