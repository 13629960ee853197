"""An agent that knows who holds the VM's lease, and that is told of the VM's end at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ha.agent import Agent
from ha.core.facts import Vm
from ha.core.sighting import StopReason, VmSighting, VmState
from ha.core.vigil import Vigil, mark_of
from ha.core.vm_lease import FREE_LEASE, LeaseState, VmLease
from ha.env.ports import VmMissing, VmStartFailed
from tests.ha.agent_bench import Host
from tests.ha.fakes import UP, settings_for

HELD = VmLease(LeaseState.LIVE, 2)
FAILING = VmLease(LeaseState.FAIL, 2)
KILLED = VmSighting(VmState.DOWN, StopReason.FAILED)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def lease(host: Host, value: VmLease) -> Callable[[], None]:
    return lambda: host.broker.values.update({"vm-lease": value.as_dict()})


def peer(host: Host, **engine: str) -> Callable[[], None]:
    """A peer that writes its record, now."""
    return lambda: host.broker.put_peer(2, int(host.clock.now), **engine)


def test_no_start_while_a_live_host_holds_the_lease_and_one_when_it_is_free(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    peer(host, **UP)()
    lease(host, HELD)()
    host.run(*[lambda: None] * 12, lambda: host.vm.calls.append("free"), lease(host, FREE_LEASE))
    assert host.vm.calls == ["free", "start <domain/>"]
    assert set(host.states[1:-2]) == {"EngineDown"}
    assert "held by host h2 (id 2), which is alive" in caplog.text
    assert all(record.score == 3400 for record in host.broker.published[1:-1])


def test_a_start_waits_for_the_lease_of_a_host_that_has_lost_it_though_its_record_is_new(
    host: Host,
) -> None:
    """A host that hangs may have written a moment ago; sanlock ends its VM."""
    up = [peer(host, **UP) for _ in range(10)]
    host.run(*up, lambda: (peer(host, **UP)(), lease(host, FAILING)()), lambda: None)  # type: ignore[arg-type]
    assert host.vm.calls == ["start <domain/>"]
    assert host.states[-2] == "EngineStarting"


def test_the_vms_end_is_believed_when_libvirt_tells_it_though_the_monitor_is_behind(
    host: Host,
) -> None:
    host.health(UP)()
    host.run(lambda: None, lambda: host.vm.callback(KILLED))
    assert host.states == [
        "ReinitializeFSM",
        "EngineUp",
        "EngineUnexpectedlyDown",
        "AgentStopped",
    ]
    told = host.broker.published[2]
    assert (told.vm, told.score) == ("down_unexpected", 0)
    assert host.bell.rung == 1


def test_a_vm_that_dies_just_after_its_start_is_not_taken_for_one_that_is_coming_up(
    host: Host,
) -> None:
    host.run(
        *[lambda: None] * 7,
        lambda: (host.bell.wait_for_ring(), host.health(UP)()),  # type: ignore[arg-type, return-value, func-returns-value]
        lambda: host.vm.callback(KILLED),
    )
    assert host.states[-3:] == ["EngineUp", "EngineUnexpectedlyDown", "AgentStopped"]


def test_an_event_is_answered_at_once_and_many_by_few_turns(host: Host) -> None:
    """Time is the fake clock's: a bell that rings takes none."""
    turns: list[float] = []

    class Ringing(type(host.bell)):  # type: ignore[misc]
        def wait(self, seconds: float) -> bool:
            turns.append(self.clock.now)
            if len(turns) == 5:
                self.stop()
            return True

    host.bell = Ringing(host.clock)
    began = host.clock.now
    Agent(host.world(), settings_for(host.root)).run()
    assert turns == pytest.approx([began, began, began + 0.2, began + 0.4, began + 0.6])


def test_after_each_turn_the_host_that_runs_the_engine_is_watched(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Vigil | None] = []
    monkeypatch.setattr("ha.engine_watch.EngineWatch.keep", lambda _, vigil: kept.append(vigil))
    up = [peer(host, **UP) for _ in range(9)]
    host.run(*up, lambda: (peer(host, **UP)(), lease(host, HELD)()), lambda: None)  # type: ignore[arg-type]
    assert kept[0] is None
    assert kept[-1] == Vigil(2, mark_of(HELD, Vm.UP))


def test_a_start_that_waits_when_maintenance_begins_is_ended(host: Host) -> None:
    host.vm.start = lambda xml, paused=False: host.hold(xml)  # type: ignore[method-assign]
    calls: list[list[str]] = []
    host.run(
        *[lambda: None] * 7,
        lambda: host.broker.set_global_maintenance(True),
        lambda: calls.append(list(host.vm.calls)),
    )
    host.released.set()
    assert calls == [["start <domain/>", "power_off only_a_start"]]
    assert host.vm.calls == calls[0]
    assert host.states[-3:] == ["GlobalMaintenance", "GlobalMaintenance", "AgentStopped"]


def test_whoever_loses_a_race_with_words_that_nobody_knows_is_not_penalised(host: Host) -> None:
    host.vm.trouble["start"] = VmStartFailed("words of the next version")
    host.vm.trouble["power_off"] = VmMissing("there is no such VM")

    def lost() -> None:
        host.bell.wait_for_ring()
        lease(host, HELD)()

    host.run(*[lambda: None] * 7, lost, lambda: None)
    assert "EngineUnexpectedlyDown" not in host.states
    assert {record.score for record in host.broker.published[1:-1]} == {3400}


def test_a_start_that_fails_alone_is_penalised(host: Host) -> None:
    host.vm.trouble["start"] = VmStartFailed("no memory")
    host.run(*[lambda: None] * 7, host.bell.wait_for_ring)
    assert host.states[-2] == "EngineUnexpectedlyDown"
