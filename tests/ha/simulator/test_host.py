"""A simulated host as a whole: power, services, libvirt and its VM, the broker's link."""

from collections.abc import Iterator

import pytest

from ha.core.sighting import VmState
from ha.simulator.cluster import Cluster
from ha.simulator.site import Plan


@pytest.fixture
def pair() -> Iterator[Cluster]:
    """Two hosts, the engine on host1."""
    with Cluster(Plan(hosts=2, first="host1")) as made:
        made.run_until(200)
        assert made.hosts[0].serves
        yield made


def said(made: Cluster, kind: str, host: str = "host1", since: float = 200) -> list[str]:
    lines = [line for line in made.log if (line.kind, line.host) == (kind, host)]
    return [line.text for line in lines if line.at_seconds >= since]


def after(made: Cluster, words: str, seconds: float) -> None:
    made.do(words)
    made.run_until(made.now + seconds)


def test_a_host_without_power_is_silent_and_boots_when_it_is_switched_on(pair: Cluster) -> None:
    after(pair, "power-off host2", 100)
    assert said(pair, "host", "host2") == ["no power"]
    assert not pair.hosts[1].on
    uptime = pair.hosts[1].time.monotonic()
    after(pair, "power-on host2", 100)
    assert said(pair, "host", "host2") == ["no power", "boots", "is up"]
    assert pair.hosts[1].time.monotonic() < uptime
    assert pair.hosts[1].holds_whiteboard_lease(2)


def test_a_killed_agent_is_started_again_after_ten_seconds(pair: Cluster) -> None:
    after(pair, "kill-agent host2", 9.5)
    assert pair.hosts[1].agent.run is None
    pair.run_until(pair.now + 1)
    assert pair.hosts[1].agent.run is not None


def test_a_stopped_agent_says_so_and_stays_stopped(pair: Cluster) -> None:
    after(pair, "stop-agent host2", 60)
    assert pair.hosts[1].agent.run is None
    assert b"state=AgentStopped" in pair.hosts[1].site.storage.blocks[2]
    after(pair, "start-agent host2", 60)
    assert b"state=EngineDown" in pair.hosts[1].site.storage.blocks[2]


def test_a_service_that_is_started_while_it_stops_runs_in_the_end(pair: Cluster) -> None:
    pair.do("stop-broker host2")
    after(pair, "start-broker host2", 60)
    assert pair.hosts[1].service is not None


def test_a_killed_broker_costs_a_turn_and_not_the_agent(pair: Cluster) -> None:
    agent = pair.hosts[1].agent.run
    after(pair, "kill-broker host2", 30)
    assert pair.hosts[1].agent.run is agent
    assert pair.hosts[1].service is not None


def test_an_agent_whose_broker_hangs_ends_after_a_while(pair: Cluster) -> None:
    agent = pair.hosts[1].agent.run
    after(pair, "hang-broker host2", 120)
    assert pair.hosts[1].agent.run is not agent


def test_a_frozen_host_is_reset_by_its_watchdog(pair: Cluster) -> None:
    after(pair, "freeze host1", 59)
    assert said(pair, "host") == []
    pair.run_until(pair.now + 2)
    assert said(pair, "host") == ["the watchdog resets it", "boots"]
    pair.run_until(700)
    assert pair.hosts[1].serves
    assert pair.invariants.broken == []


def test_a_host_that_is_frozen_for_a_moment_goes_on(pair: Cluster) -> None:
    after(pair, "freeze host1", 30)
    assert not pair.hosts[0].executes_vm
    after(pair, "thaw host1", 30)
    assert pair.hosts[0].serves
    assert said(pair, "host") == []


def test_an_orderly_shutdown_gives_everything_back(pair: Cluster) -> None:
    after(pair, "shut-down host1", 60)
    assert not pair.hosts[0].on
    assert said(pair, "vm")[:2] == ["shuts down", "stopped: shutdown"]
    leases = pair.hosts[0].site.whiteboard_area.slot(1), pair.hosts[0].site.vm_area.slot(1)
    assert [lease.timestamp for lease in leases] == [0, 0]


def test_the_vm_of_a_host_without_storage_is_ended_before_others_may_start_it(
    pair: Cluster,
) -> None:
    after(pair, "storage-lost host1", 60)
    assert pair.hosts[0].executes_vm
    pair.run_until(pair.now + 65)
    assert said(pair, "vm") == ["stopped: shutdown"]
    pair.run_until(pair.now + 150)
    assert pair.hosts[1].executes_vm
    assert pair.invariants.broken == []


def test_the_vm_moves_with_its_lease(pair: Cluster) -> None:
    after(pair, "migrate host1 host2", 5)
    assert [host.executes_vm for host in pair.hosts] == [False, True]
    assert pair.hosts[0].site.engine.lease.owner == 2
    assert pair.hosts[1].serves  # it did not boot
    after(pair, "migrate host1 host2", 5)
    assert said(pair, "vm")[-1] == "cannot migrate: it does not run here"


def test_a_vm_that_ignores_its_power_button_goes_on(pair: Cluster) -> None:
    pair.do("hang-engine-shutdown")
    pair.hosts[0].libvirt.press_power_button()
    pair.run_until(pair.now + 30)
    assert pair.hosts[0].executes_vm


def test_a_silent_libvirt_tells_nobody_and_the_vm_runs_on(pair: Cluster) -> None:
    after(pair, "libvirt-lost host1", 15)
    assert pair.hosts[0].executes_vm
    assert said(pair, "state")[-1].startswith("UnknownLocalVmState")
    after(pair, "libvirt-back host1", 15)
    assert said(pair, "state")[-1].startswith("EngineUp")


def test_a_drifting_clock_changes_how_long_a_turn_lasts(pair: Cluster) -> None:
    pair.do("clock-drift host2 100000")
    before = pair.hosts[1].time.monotonic()
    pair.run_until(pair.now + 100)
    assert pair.hosts[1].time.monotonic() - before == pytest.approx(110)


def test_a_wall_clock_that_jumps_changes_nothing_but_dates(pair: Cluster) -> None:
    after(pair, "clock-jump host1 86400", 100)
    after(pair, "clock-jump host2 -86400", 100)
    assert pair.hosts[0].serves
    assert said(pair, "state") == []


def test_two_hosts_with_one_id_never_write_over_each_other(pair: Cluster) -> None:
    after(pair, "duplicate-id host2", 300)
    assert pair.hosts[0].serves
    assert not pair.hosts[1].holds_whiteboard_lease(1)
    assert pair.invariants.broken == []
    after(pair, "right-id host2", 300)
    assert pair.hosts[1].holds_whiteboard_lease(2)


def test_the_engine_can_be_broken_for_good_and_healed(pair: Cluster) -> None:
    after(pair, "break-engine", 10)
    assert not pair.serves
    after(pair, "heal-engine", 1)
    assert pair.serves


def test_a_paused_vm_does_not_run(pair: Cluster) -> None:
    vm = pair.hosts[0].libvirt.vm
    assert vm is not None
    vm.state = VmState.PAUSED
    assert not pair.hosts[0].executes_vm


def waiting(made: Cluster) -> None:
    """Cut the power of the engine's host, and wait until the other one waits for its lease."""
    made.do("power-off host1")
    while made.hosts[1].libvirt.starting is None:
        assert made.now < 400
        made.run_until(made.now + 1)


def test_libvirt_goes_on_with_the_start_of_an_agent_that_was_killed(pair: Cluster) -> None:
    waiting(pair)
    after(pair, "kill-agent host2", 120)
    assert pair.hosts[1].executes_vm
    pair.run_until(pair.now + 120)
    assert said(pair, "state", "host2")[-1].startswith("EngineUp")


def test_an_agent_that_is_stopped_ends_the_start_that_waits(pair: Cluster) -> None:
    waiting(pair)
    after(pair, "stop-agent host2", 300)
    assert not pair.hosts[1].executes_vm
    assert b"state=AgentStopped" in pair.hosts[1].site.storage.blocks[2]
