"""What the agent reads, writes, logs and records."""

import io
import json
import logging
import time
from pathlib import Path

import pytest

from ha.bell import QueueBell
from ha.core.record import GLOBAL_BLOCK, Record
from ha.env.ports import BrokerError
from ha.execute import ConfUnavailable
from ha.replay import replay_main
from tests.ha.agent_bench import HOSTNAME, Host
from tests.ha.fakes import (
    DOWN,
    UNEXPECTED,
)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


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


def test_a_host_is_dead_when_its_stamp_was_seen_not_to_change_for_a_minute(host: Host) -> None:
    """Until then nobody knows, also of a host that comes later."""
    host.broker.put_peer(3, 5)
    told: list[tuple[int, ...]] = []

    def tick() -> None:
        told.append(host.broker.dead)
        host.broker.put_peer(2, int(host.clock.now), vm="up", health="good", detail="Up")

    host.run(*[tick] * 9)
    assert told[:6] == [()] * 6
    assert host.broker.dead == (3,)


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


def test_a_configuration_that_cannot_be_fetched_is_told_and_the_turns_go_on(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    def hang() -> None:
        raise ConfUnavailable("refresh-vm-conf has not come back within 5 s")

    host.run(lambda: setattr(host.files, "refresh", hang), *[lambda: None] * 6)
    stamps = [record.timestamp for record in host.broker.published]
    assert stamps == [1000 + 10 * turn for turn in range(9)]
    refreshed = [record.local_conf_timestamp for record in host.broker.published]
    assert refreshed == [1000] * 9  # the fact that the others are told
    line = "Cannot refresh vm.conf: refresh-vm-conf has not come back within 5 s"
    # Once in half a minute: at the second turn, the fifth and the eighth.
    assert [record.message for record in caplog.records].count(line) == 3


def test_the_record_has_the_hosts_own_name(host: Host) -> None:
    host.run(turns=1)
    assert {record.hostname for record in host.broker.published} == {HOSTNAME}


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
        "Engine down and local host has best score (3400), attempting to start engine VM"
        " [EngineDown/no-peer-scores-higher]",
        "Starting the engine VM [EngineStart/request-start-vm]",
        "VM is powering up.. [EngineStarting/vm-up]",
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
        "version",
        "maintenance",
        "state",
        "stopped",
        "timeout",
        "why",
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
