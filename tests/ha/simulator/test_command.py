"""The product's `hosted-engine` on simulated hosts."""

from collections.abc import Iterator

import pytest

from ha.simulator.cluster import Cluster
from ha.simulator.host import SimHost
from ha.simulator.site import Plan

KILLED = 137


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(Plan()) as made:
        made.run_until(300)
        yield made
        assert made.invariants.broken == []


def test_it_answers_in_the_products_words_and_time_passes(cluster: Cluster) -> None:
    answer = cluster.command("host1", "--check-liveliness")
    assert (answer.exit_code, answer.out) == (0, "Hosted Engine is up!\n")
    assert cluster.now > 300
    cluster.do("break-engine")
    answer = cluster.command("host1", "--check-liveliness")
    assert (answer.exit_code, answer.err) == (1, "Hosted Engine is not up!\n")


def test_global_maintenance_is_acknowledged_and_kept(cluster: Cluster) -> None:
    answer = cluster.command("host2", "--set-maintenance", "--mode=global")
    assert answer.exit_code == 0, answer
    assert answer.out.count("GlobalMaintenance") == len(cluster.hosts)
    assert cluster.global_maintenance is True
    answer = cluster.command("host1", "--set-maintenance", "--mode=none")
    assert answer.exit_code == 0, answer
    assert cluster.global_maintenance is False


def test_local_maintenance_is_in_ha_conf_which_the_agent_reads(cluster: Cluster) -> None:
    host = next(each for each in cluster.hosts if each.libvirt.vm is None)
    assert cluster.command(host.name, "--set-maintenance", "--mode=local").exit_code == 0
    cluster.run_until(cluster.now + 30)
    told = [line.text for line in cluster.log if (line.host, line.kind) == (host.name, "state")]
    assert told[-1].startswith("LocalMaintenance")
    assert host.paths is not None
    host.paths.ha_conf.write_text("local_maintenance=False\n")
    cluster.run_until(cluster.now + 60)
    told = [line.text for line in cluster.log if (line.host, line.kind) == (host.name, "state")]
    assert told[-1].startswith("EngineDown")


def test_local_maintenance_ends_a_start_that_waits_for_the_lease(cluster: Cluster) -> None:
    """libvirt says nothing of the VM meanwhile, and the command does not wait for it."""
    owner = next(each for each in cluster.hosts if each.libvirt.vm is not None)
    cluster.do(f"power-off {owner.name}")
    while (waits := _who_starts(cluster)) is None:
        cluster.run_until(cluster.now + 1)
    began = cluster.now
    answer = cluster.command(waits.name, "--set-maintenance", "--mode=local")
    assert (answer.exit_code, cluster.now - began < 20) == (3, True), answer
    cluster.run_until(cluster.now + 300)
    assert waits.libvirt.vm is None
    assert any(each.libvirt.vm is not None for each in cluster.hosts)


def _who_starts(cluster: Cluster) -> SimHost | None:
    return next((each for each in cluster.hosts if each.libvirt.starting is not None), None)


def test_a_command_ends_with_its_host(cluster: Cluster) -> None:
    running = cluster.start_command(cluster.hosts[0], ("--set-maintenance", "--mode=global"))
    cluster.run_until(cluster.now + 0.5)
    assert not running.over.is_set()
    cluster.do("power-off host1")
    cluster.run_until(cluster.now + 1)
    assert running.over.is_set()
    assert running.answer.exit_code == KILLED
    assert cluster.command("host1", "--vm-status").exit_code == KILLED
