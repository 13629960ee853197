"""What was approved is what is done: all is looked at again after the gate, VDSM by its own age."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.upgrade import upgrade
from flows.upgrade_howto import by_howto
from tasks.env import use_world
from tasks.gates import GateRejected
from tasks.recorded import Outcome
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.runs import entered_run
from tasks.upgrade_hosts import restart_vdsmd
from tasks.upgrade_settings import UpgradeSettings
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_packages import ENGINE_V2, add_packages, engine_of
from tests.fake_vm import NO, YES
from tests.upgraded import steps, with_vdsm


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as bare, use_world(add_packages(bare)):
        yield bare


def sick_engine(cluster: FakeCluster) -> None:
    for host in cluster.hosts.values():
        host.set("engine", "down")


def maintenance_by_hand(cluster: FakeCluster) -> None:
    cluster.hosts["h3"].run(("hosted-engine", "--set-maintenance", "--mode=global"))


def other_engine_packages(cluster: FakeCluster) -> None:
    engine_of(cluster).set("offered", ENGINE_V2.replace("base 2.0", "base 3.0"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (sick_engine, "Hosted Engine is not up"),
        (maintenance_by_hand, "approved, this has changed: global maintenance"),
        (other_engine_packages, "this has changed: the packages of the engine VM"),
    ],
)
def test_what_changes_while_the_gate_waits_stops_the_run(
    cluster: FakeCluster, change: Callable[[FakeCluster], None], told: str
) -> None:
    cluster.at_gate = lambda: change(cluster)
    cluster.answers = [YES]
    with pytest.raises(CheckRefused, match=told):
        upgrade.fn("lab")
    assert steps(cluster) == []


def shown_for(evidence: str, host: str) -> str:
    return evidence.partition(f"### On {host}\n")[2].split("```")[1]


@pytest.mark.parametrize("howto", [False, True])
def test_the_gate_shows_what_is_run_on_each_host(cluster: FakeCluster, howto: bool) -> None:
    cluster.answers = [NO]
    with pytest.raises(GateRejected):
        (by_howto if howto else upgrade).fn("lab")
    [(_, evidence)] = cluster.asked
    for host in ("h1", "h2", "h3"):
        shown = shown_for(evidence, host)
        # Under the Howto's global maintenance upstream's command would end it.
        assert ("--set-maintenance" in shown) is not howto
        assert ("local_maintenance=$value" in shown) is howto
        for wanted in ("virsh migrate --live", "dnf -y update", "restart vdsmd", "ha-broker &&"):
            assert wanted in shown
        assert f"- {host}: `dnf history list`; `dnf history undo ID`" in evidence


def test_where_vdsm_is_the_gate_shows_the_engines_part_and_the_named_packages(
    tmp_path: Path,
) -> None:
    named = UpgradeSettings(packages=("vdsm-like", "hosted-engine-runbooks-ha"))
    with fake_cluster(tmp_path, bad={}) as bare, use_world(add_packages(bare, named)):
        with_vdsm(bare)
        bare.answers = [NO]
        with pytest.raises(GateRejected):
            upgrade.fn("lab")
        shown = shown_for(bare.asked[0][1], "h2")
    assert "Management, Maintenance" in shown
    assert "Management, Activate" in shown
    assert "dnf -y update vdsm-like hosted-engine-runbooks-ha" in shown
    for absent in ("--set-maintenance", "virsh"):
        assert absent not in shown


@pytest.mark.parametrize(
    ("age_seconds", "installed_ago_seconds", "wanted"),
    [
        (1000, [5000, 500], Outcome.CHANGED),  # one of its packages is newer than it
        (1000, [5000, 2000], Outcome.ALREADY),
        (1000, [], Outcome.CHANGED),  # by which package is unknown
        (None, [5000], Outcome.CHANGED),  # it does not run
    ],
)
@pytest.mark.parametrize("stale_agent", [False, True])
def test_vdsm_is_restarted_by_its_own_age(
    cluster: FakeCluster,
    age_seconds: int | None,
    installed_ago_seconds: list[int],
    wanted: Outcome,
    stale_agent: bool,
) -> None:
    h2, now = cluster.hosts["h2"], int(time.time())
    h2.set("vdsm", "")
    h2.set("vdsm-installed", "\n".join(str(now - ago) for ago in installed_ago_seconds))
    if age_seconds is not None:
        h2.set("vdsm-age", str(age_seconds))
    if stale_agent:
        h2.set("stale", "")
    site = Site("lab", None, "h2", "h1", ("h1", "h3"))  # type: ignore[arg-type]
    with entered_run("upgrade", parameters={"cluster": "lab"}):
        assert restart_vdsmd.fn(site, "h2") is wanted
    assert bool(h2.calls("systemctl restart vdsmd")) is (wanted is Outcome.CHANGED)
