"""The engine VM in an upgrade: engine-setup fails, the VM stays away, is off, wants a restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.upgrade import upgrade
from tasks.engine_site import EngineStepFailed
from tasks.env import use_world
from tasks.journal import Kind, Phase
from tasks.waiting import TimedOut
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_packages import ENGINE_V2, V1, add_packages, engine_of
from tests.fake_vm import YES
from tests.upgraded import (
    again,
    engine_on,
    impatient,
    last_run,
    outcomes,
    steps,
    versions,
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as bare, use_world(add_packages(bare)):
        yield bare


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


@impatient()
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
