"""An upgrade in which something goes wrong on a host: where it stops, and how it goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.upgrade import upgrade
from tasks.env import HostUnreachable, use_world
from tasks.migration import MigrationFailed
from tasks.refusal import CheckRefused
from tasks.upgrade_hosts import UpdateFailed
from tasks.waiting import TimedOut
from tests.fake_cluster import FakeCluster, fake_cluster, unreachable
from tests.fake_packages import V1, V2, add_packages
from tests.fake_vm import YES
from tests.upgraded import (
    again,
    impatient,
    out_of_service,
    steps,
    versions,
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as bare, use_world(add_packages(bare)):
        yield bare


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


def test_a_migration_that_fails_is_tried_again_by_a_retry(cluster: FakeCluster) -> None:
    cluster.hosts["h1"].set("immovable", "yes")
    cluster.answers = [YES, YES]
    with pytest.raises(MigrationFailed, match="it is still on h1"):
        upgrade.fn("lab")
    assert out_of_service(cluster) == []
    (cluster.hosts["h1"].root / "state/immovable").unlink()
    again(cluster)
    assert [step for step in steps(cluster) if step.startswith("move_engine_vm")] == [
        "move_engine_vm.1.to-h2@h1",
        "move_engine_vm.2.to-h2@h1",
    ]
    assert versions(cluster) == ["2.0-1"] * 3


@impatient()
def test_an_agent_that_does_not_start_stops_the_upgrade(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].set("bad-agent", "yes")
    cluster.answers = [YES]
    with pytest.raises(TimedOut, match="h2 runs 2.0-1.*agent failed"):
        upgrade.fn("lab")
    assert cluster.hosts["h3"].get("installed") == V1
    assert out_of_service(cluster) == ["h2"]


@impatient()
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
    with pytest.raises(CheckRefused, match="changed: the packages of h3"):
        upgrade.fn("lab")
    assert steps(cluster) == []


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
