import io
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ha.agent import Agent, LostSight, NotConfigured, World, run_agent
from ha.bell import QueueBell
from ha.core.record import GLOBAL_BLOCK, Record
from ha.env.ports import BrokerError, Env, VmLocked, VmMissing
from ha.recorder import FlightRecorder
from ha.replay import replay_main
from tests.ha.fakes import (
    DOWN,
    UNEXPECTED,
    UNREACHABLE,
    UP,
    FakeBell,
    FakeBroker,
    FakeClock,
    FakeEngineVm,
    FakeFiles,
    settings_for,
)


class Host:
    """One host with its agent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.broker = FakeBroker()
        self.vm = FakeEngineVm()
        self.files = FakeFiles()
        self.recording = root / "flight.jsonl"
        self.bell = FakeBell(self.clock)

    def world(self) -> World:
        recorder = FlightRecorder(self.recording, seed=7)
        return World(Env(self.clock, self.broker, self.vm), self.files, self.bell, recorder)

    def run(self, *plan: Callable[[], None], turns: int = 0) -> None:
        """Let the agent take one turn and one more after each step of the plan, or `turns` more."""
        self.bell.plan = [*plan, *([lambda: None] * turns)]
        Agent(self.world(), settings_for(self.root)).run()

    @property
    def states(self) -> list[str | None]:
        return [record.state for record in self.broker.published]

    def health(self, status: dict[str, str]) -> Callable[[], None]:
        return lambda: self.broker.values.update({"engine-health": status})


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


def test_an_unforeseen_error_is_raised_after_the_farewell(host: Host) -> None:
    def break_it() -> None:
        host.files.vm_memory_mib = lambda: 1 / 0  # type: ignore[method-assign]

    with pytest.raises(ZeroDivisionError):
        host.run(break_it, lambda: None)
    assert host.states[-1] == "AgentStopped"


def test_a_host_that_is_not_configured_refuses(host: Host) -> None:
    with pytest.raises(NotConfigured):
        run_agent(host.world(), settings_for(host.root, configured=False))


def test_only_known_blocks_are_read_and_now_and_then_all(host: Host) -> None:
    host.broker.put_peer(2, 5)
    host.run(turns=7)
    assert host.broker.reads[0] is None
    assert host.broker.reads[1:6] == [[0, 2]] * 5
    assert None in host.broker.reads[6:]


def test_live_hosts_are_those_whose_stamp_was_seen_to_change(host: Host) -> None:
    host.broker.put_peer(3, 5)

    def tick() -> None:
        host.broker.put_peer(2, int(host.clock.now), vm="up", health="good", detail="Up")

    host.run(*[tick] * 9)
    assert host.broker.live == (1, 2)
    assert host.states[-2] == "EngineDown"
    assert host.vm.calls == []


def test_a_block_too_new_is_logged_and_does_no_harm(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.broker.blocks[52] = b"2|2|1|52|0|x|h".ljust(4096, b"\0")
    host.broker.blocks[53] = b"\xff" * 4096
    host.run(turns=9)
    message = (
        "Metadata version 2 from host 52 too new for this agent (highest compatible version: 1)"
    )
    assert [r.message for r in caplog.records].count(message) == 1
    assert host.vm.calls == ["start <domain/>"]


def test_global_maintenance_keeps_the_agent_publishing_and_still(host: Host) -> None:
    host.broker.set_global_maintenance(True)
    host.run(turns=20)
    assert set(host.states[1:-1]) == {"GlobalMaintenance"}
    assert host.broker.published[-2].score == 3400
    assert host.vm.calls == []


def test_transitions_are_notified(host: Host) -> None:
    host.run(turns=2)
    assert host.broker.notes == [
        "state_transition StartState-ReinitializeFSM",
        "state_transition ReinitializeFSM-EngineDown",
    ]


def test_a_broker_that_cannot_notify_does_not_stop_the_turn(host: Host) -> None:
    def refuse(*_args: object) -> None:
        raise BrokerError("failed", "no mail today")

    host.broker.notify = refuse  # type: ignore[method-assign]
    host.run(turns=2)
    assert host.states[-2] == "EngineDown"


def test_upstreams_lines_are_logged(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    host.broker.put_peer(2, 1)
    host.run(
        lambda: host.broker.put_peer(2, 2),
        *[lambda: None] * 7,
        host.health(UNEXPECTED),
        *[lambda: None] * 5,
    )
    lines = [record.message for record in caplog.records]
    for line in (
        "Current state EngineDown (score: 3400)",
        "Best remote host h2 (id: 2, score: 3400)",
        "Engine down and local host has best score (3400), attempting to start engine VM",
        "VM is powering up..",
        "Score is 0 due to unexpected vm shutdown",
    ):
        assert line in lines, line
    assert any(
        line.startswith("Timeout set to Tue Nov 14 2")
        and line.endswith("while transitioning EngineStarting -> EngineStarting")
        for line in lines
    ), lines
    assert "Timeout cleared while transitioning EngineStarting -> EngineMaybeAway" in lines


def test_the_text_for_people_has_the_timeout_as_a_date_of_today(host: Host) -> None:
    host.run(turns=8)
    record = host.broker.published[-2]
    (line,) = (line for line in record.extra.splitlines() if line.startswith("timeout="))
    ends = time.mktime(time.strptime(line.partition("=")[2]))
    assert 500 < ends - host.clock.wall() <= 600
    keys = [line.partition("=")[0] for line in record.extra.splitlines()]
    assert keys == [
        "metadata_parse_version",
        "metadata_feature_version",
        "timestamp",
        "host-id",
        "score",
        "vm_conf_refresh_time",
        "conf_on_shared_storage",
        "maintenance",
        "state",
        "stopped",
        "timeout",
    ]


def test_the_flight_recorder_can_be_replayed(host: Host) -> None:
    host.broker.put_peer(2, 3)
    host.run(*[lambda: None] * 8, host.health(UNEXPECTED), *[lambda: None] * 30)
    host.bell.stopped = False
    host.run(turns=3)
    out, err = io.StringIO(), io.StringIO()
    assert replay_main(host.recording, out, err) == 0, err.getvalue()
    replayed = [json.loads(line) for line in out.getvalue().splitlines()]
    recorded = [json.loads(line) for line in host.recording.read_text().splitlines()]
    decisions = [step["decision"] for line in recorded for step in line["steps"]]
    assert [{key: step[key] for key in decisions[0]} for step in replayed] == decisions
    assert any(decision["actions"] for decision in decisions)


def test_the_agent_wakes_for_an_event(host: Host) -> None:
    host.run(turns=0)
    host.vm.callback(host.vm.sighting())
    assert host.bell.rung == 1


def test_the_real_bell_wakes_and_stops() -> None:
    bell = QueueBell()
    assert bell.wait(0.0) is False
    bell.ring()
    bell.ring()
    assert bell.wait(5.0) is True
    assert bell.wait(0.0) is False
    bell.stop()
    assert bell.wait(5.0) is True
    assert bell.stopped


def test_our_own_block_is_never_read_back(host: Host) -> None:
    host.broker.blocks[1] = b"2|2|1|1|0|x|h".ljust(4096, b"\0")
    host.run(turns=1)
    assert isinstance(host.broker.published[0], Record)
    assert GLOBAL_BLOCK not in host.broker.blocks
    assert host.broker.values["engine-health"] == DOWN
