"""What the agent tells its broker of itself, and that different versions understand each other."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ha.agent import Agent
from ha.broker import BrokerService
from ha.broker_server import answer_to
from ha.config import BrokerConf
from ha.env.ports import BrokerError
from tests.ha.agent_bench import Host
from tests.ha.broker_world import BrokerWorld
from tests.ha.fakes import UP, FakeBroker, settings_for


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def run(host: Host, turns: int, *, metrics: bool = True) -> list[dict[str, object]]:
    """Let an agent live for some turns; return its reports."""
    listen = ("127.0.0.1", 9797) if metrics else None
    settings = replace(settings_for(host.root), broker=BrokerConf(metrics_listen=listen))
    host.bell.plan = [lambda: None] * turns
    Agent(host.world(), settings).run()
    return [dict(report) for report in host.broker.reports if report is not None]


def test_each_turn_is_reported(host: Host) -> None:
    host.broker.put_peer(2, 5, score=2400)
    host.broker.blocks[52] = b"2|2|1|52|0|x|h".ljust(4096, b"\0")
    host.broker.values |= {"engine-health": UP, "bridge": False, "network": 0.5}
    reports = run(host, 3)
    assert [report["turns"] for report in reports] == [1, 2, 3, 4]
    assert [report["state"] for report in reports[:3]] == [
        "ReinitializeFSM",
        "EngineUp",
        "EngineUp",
    ]
    last = reports[-1]
    assert last["rule"] == "EngineUp/otherwise"
    assert last["score"] == 2000
    assert last["penalties"] == {"network": 800, "bridge": 600, "cpu": 0, "retries": 0}
    assert (last["global_maintenance"], last["local_maintenance"]) == (False, False)
    assert last["bad_blocks"] == 1
    assert last["anomalies"] == ["metadata-too-new"]
    assert last["peers"] == [[2, "h2", False, 2400]]
    assert last["retries"] == 0
    assert reports[0]["loop_seconds"] is None
    assert last["loop_seconds"] == 0.0  # virtual time
    assert json.loads(json.dumps(last)) == last


def test_a_state_without_a_score_is_a_penalty_of_all_points(host: Host) -> None:
    host.files.maintenance = True
    assert run(host, 1)[-1]["penalties"] == {"state": 3400}


def test_without_metrics_nobody_is_told(host: Host) -> None:
    assert run(host, 2, metrics=False) == []
    assert len(host.broker.reports) == 3


def test_a_broker_that_refuses_it_stops_no_turn(host: Host) -> None:
    def refuse(*_args: object) -> None:
        raise BrokerError("bad_request", "what is that?")

    host.broker.set_live_hosts = refuse  # type: ignore[method-assign]
    run(host, 2)
    assert host.states[-2] == "EngineDown"


@pytest.mark.parametrize(
    ("report", "kept"),
    [("", None), (', "report": {"state": "x"}', {"state": "x"}), (', "report": 7', None)],
)
def test_agents_of_other_versions_are_understood(
    report: str, kept: dict[str, object] | None
) -> None:
    broker = FakeBroker()
    request = f'{{"method": "set_live_hosts", "params": {{"host_ids": [1, 2]{report}}}}}'
    assert answer_to(broker, request.encode()) == {"result": None}
    assert (broker.live, broker.reports) == ((1, 2), [kept])


def test_a_report_is_kept_with_the_list() -> None:
    service = BrokerService(BrokerWorld().env, 7, interval_seconds=3600)
    service.set_live_hosts([7], {"state": "EngineUp"})
    assert service.live_hosts().report == {"state": "EngineUp"}
    service.set_live_hosts([7])  # an agent of an older version gives none
    assert service.live_hosts().report is None
