import math
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ha.agent import LostSight, StartPending
from ha.agent_run import NotConfigured, run_agent
from ha.env.ports import VmLocked, VmMissing, VmTrouble
from tests.ha.agent_bench import Host
from tests.ha.fakes import (
    UNREACHABLE,
    UP,
    settings_for,
)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_host_alone_starts_the_engine_and_sees_it_up(host: Host) -> None:
    host.run(*[lambda: None] * 9, host.health(UP), lambda: None)
    assert host.vm.calls == ["start <domain/>"]
    assert host.states[0] == "ReinitializeFSM"
    assert host.states[1:7] == ["EngineDown"] * 6
    assert host.states[-3:] == ["EngineUp", "EngineUp", "AgentStopped"]


def test_a_start_under_way_is_published_as_waiting_for_launch(host: Host) -> None:
    host.run(turns=8)
    assert host.states[-2] == "EngineStarting"
    assert host.broker.published[-2].vm == "up"
    assert host.broker.published[-2].detail == "WaitForLaunch"


def test_a_locked_vm_is_given_up_without_penalty(host: Host) -> None:
    host.vm.trouble["start"] = VmLocked("Lease is held by another host")
    host.vm.trouble["power_off"] = VmMissing("there is no such VM")
    host.run(*[lambda: None] * 7, host.bell.wait_for_ring)
    assert host.vm.calls == ["start <domain/>", "power_off"]
    assert host.states[-3] == "EngineStarting"
    assert host.states[-2] == "EngineDown"
    assert host.broker.published[-2].score == 3400


def test_without_a_definition_the_start_fails_and_is_counted(host: Host) -> None:
    host.files.xml = None
    host.run(turns=8)
    assert host.vm.calls == []
    assert [record.score for record in host.broker.published[-3:]] == [3350, 3300, 0]


def test_the_agent_stops_without_touching_the_vm_and_says_so(host: Host) -> None:
    host.health(UP)()
    host.run(turns=2)
    last = host.broker.published[-1]
    assert (last.state, last.stopped, last.score) == ("AgentStopped", True, 0)
    assert last.vm == "up"
    assert host.vm.calls == []
    assert not host.broker.locked


def test_a_start_that_waits_is_ended_before_the_agent_says_that_it_has_stopped(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ha.execute.START_GRACE_SECONDS", 0.05)
    over, told = threading.Event(), []

    def power_off(**_: bool) -> None:
        told.append(host.states[-1])
        over.set()

    def start(_xml: str) -> None:
        over.wait(10)
        raise VmLocked("Failed to acquire lock")

    monkeypatch.setattr(host.vm, "start", start)
    monkeypatch.setattr(host.vm, "power_off", power_off)
    host.run(turns=8)
    assert told == ["EngineStarting"]
    last = host.broker.published[-1]
    assert (last.state, last.vm) == ("AgentStopped", "down")


def test_an_agent_does_not_say_that_it_has_stopped_while_its_start_may_complete(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ha.execute.START_GRACE_SECONDS", 0.05)
    over = threading.Event()
    host.vm.trouble["power_off"] = VmTrouble("no emulator is found")
    monkeypatch.setattr(host.vm, "start", lambda _xml: over.wait(10))
    with pytest.raises(StartPending, match="may yet come up"):
        host.run(turns=8)
    assert host.states[-1] == "EngineStarting"
    assert host.broker.locked  # nobody may take this host for one that is gone
    over.set()


def test_a_start_that_hangs_leaves_the_engine_to_the_others(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ha.execute.END_GRACE_SECONDS", 0.05)
    over, starts = threading.Event(), []

    def start(xml: str) -> None:
        starts.append(xml)
        over.wait(30)
        raise VmTrouble("stale file handle")

    monkeypatch.setattr(host.vm, "start", start)
    host.vm.trouble["power_off"] = VmTrouble("no emulator is found")
    host.run(*[lambda: None] * 75, over.set)
    given_up = host.states.index("EngineStop")
    assert host.states[given_up : given_up + 3] == ["EngineStop", "EngineStop", "EngineDown"]
    assert host.broker.published[given_up].vm == "up"
    after = host.broker.published[given_up + 2 :]
    assert {record.state for record in after} == {"EngineDown", "AgentStopped"}
    assert {record.vm for record in after} == {"down_unexpected"}
    assert [record.score for record in after][-3:-1] == [0, 0]
    assert len(starts) == 1


def test_a_vm_that_comes_up_while_the_agent_ends_is_told(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(host.vm, "start", lambda _xml: over.wait(10))
    wait_longer = host.bell.wait

    def wait(seconds: float) -> bool:
        if host.states[-1] == "EngineStarting":
            host.bell.stop()
            over.set()
            return True
        return wait_longer(seconds)

    monkeypatch.setattr(host.bell, "wait", wait)
    host.run(turns=20)
    before, last = host.broker.published[-2:]
    assert (before.state, before.vm) == ("EngineStarting", "down")
    assert (last.state, last.vm) == ("AgentStopped", "up")


def test_maintenance_set_while_the_agent_runs_is_published(host: Host) -> None:
    host.run(lambda: setattr(host.files, "maintenance", True), lambda: None)
    record = host.broker.published[-2]
    assert (record.state, record.maintenance, record.score) == ("LocalMaintenance", True, 0)
    assert host.broker.published[-1].maintenance is True


def test_an_agent_started_in_maintenance_parks_and_says_so(host: Host) -> None:
    host.files.maintenance = True
    host.health(UP)()
    host.run(turns=20)
    assert set(host.states[:-1]) == {"LocalMaintenance"}
    assert all(record.maintenance for record in host.broker.published)
    stamps = [record.timestamp for record in host.broker.published]
    assert stamps == sorted(set(stamps))
    assert host.vm.calls == []


def test_a_parked_agent_outlives_missing_storage(host: Host) -> None:
    host.files.maintenance = True
    host.broker.trouble = UNREACHABLE
    host.run(*[lambda: None] * 60, lambda: setattr(host.broker, "trouble", None), lambda: None)
    assert host.states == ["LocalMaintenance", "LocalMaintenance", "AgentStopped"]


def test_parking_ends_with_the_maintenance(host: Host) -> None:
    host.files.maintenance = True
    host.run(lambda: setattr(host.files, "maintenance", False), lambda: None)
    assert host.states[:3] == ["LocalMaintenance", "ReinitializeFSM", "EngineDown"]


def test_storage_out_of_sight_ends_the_agent_and_never_starts_the_vm(host: Host) -> None:
    host.broker.values["storage-domain"] = False
    with pytest.raises(LostSight):
        host.run(turns=100)
    assert host.vm.calls == []
    assert host.states == ["AgentStopped"]


def test_a_short_loss_of_sight_changes_nothing(host: Host) -> None:
    lost: list[Callable[[], None]] = [
        lambda: None,
        lambda: setattr(host.broker, "trouble", UNREACHABLE),
        *[lambda: None] * 10,
        lambda: setattr(host.broker, "trouble", None),
        lambda: None,
    ]
    host.health(UP)()
    host.run(*lost)
    assert host.states == ["ReinitializeFSM", *["EngineUp"] * 3, "AgentStopped"]


def test_a_lost_host_id_is_taken_again(host: Host) -> None:
    host.run(lambda: setattr(host.broker, "locked", False), lambda: None)
    assert len(host.broker.published) == 4


def test_a_lease_that_takes_minutes_is_waited_for_turn_by_turn(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.broker.joining = 100  # 200 s
    host.run(turns=102)
    assert host.states == ["ReinitializeFSM", "EngineDown", "EngineDown", "AgentStopped"]
    assert host.bell.waits[:100] == [2.0] * 100
    lines = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert lines == []


def test_a_lease_that_never_comes_ends_the_agent(host: Host) -> None:
    host.broker.joining = math.inf
    with pytest.raises(LostSight):
        host.run(turns=1000)
    assert 360 <= host.clock.now - 1000 <= 370
    assert host.states == []


def test_an_agent_that_is_stopped_before_it_has_its_lease_gives_it_up(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.broker.joining = math.inf
    host.run(turns=2)
    assert host.states == []
    assert host.broker.released == 1  # else it would be held when it comes, by nobody
    assert "The whiteboard does not say that this agent has stopped: " in caplog.text


def test_an_unforeseen_error_is_raised_after_the_farewell(host: Host) -> None:
    def break_it() -> None:
        host.files.vm_memory_mib = lambda: 1 / 0  # type: ignore[method-assign]

    with pytest.raises(ZeroDivisionError):
        host.run(break_it, lambda: None)
    assert host.states[-1] == "AgentStopped"


def test_a_host_that_is_not_configured_refuses(host: Host) -> None:
    with pytest.raises(NotConfigured):
        run_agent(host.world(), settings_for(host.root, configured=False))
