"""What is served of broker and agent, and of an agent of another version."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from ha.agent import Agent
from ha.config import BrokerConf
from ha.core.anomalies import Kind
from ha.core.facts import State
from ha.core.leases import LeaseHolder
from ha.env.live_hosts import LiveHosts
from ha.metered import Times
from ha.metrics import TABLE, exposition
from ha.metrics_look import Channel, LeaseLook, Look, samples
from tests.ha.agent_bench import Host
from tests.ha.fakes import UP, settings_for
from tests.ha.test_metrics import read

MONITORS = {
    "network": 0.8,
    "bridge": True,
    "mem-free": 2048.0,
    "cpu-load": 0.25,
    "engine-health": UP,
    "storage-domain": True,
    "vm-lease": {"owner": 1, "state": "live"},
}
REPORT: dict[str, object] = {
    "version": "1.2-1",
    "state": "EngineUp",
    "rule": "EngineUp/otherwise",
    "score": 3080,
    "penalties": {"network": 320, "retries": 0},
    "turns": 7,
    "loop_seconds": 0.01,
    "global_maintenance": False,
    "local_maintenance": True,
    "retries": 2,
    "bad_blocks": 1,
    "anomalies": ["two-vms"],
    "peers": [[2, "h2", True, 3400], [3, "h3", False, 0]],
}


def look(report: Mapping[str, object] | None, **others: object) -> Look:
    values: dict[str, object] = {
        "version": "1.2-1",
        "live": LiveHosts((1, 2), 4.0, report),
        "monitors": MONITORS,
        "leases": (
            LeaseLook("whiteboard", True, 12.0, (LeaseHolder(1, "live", 1, 5),)),
            LeaseLook("vm", False),
        ),
        "storage": {"read": Times(3, 0.5, 0.1, 1, 2.0)},
        "transitions": {"EngineUp-EngineStop": 2},
        "anomalies": {"two-vms": 3},
        "channels": (Channel("mail", 1, 2),),
        **others,
    }
    return Look(**values)  # type: ignore[arg-type]


def served(found: Look) -> dict[str, float]:
    return read(exposition(list(samples(found))))


def test_every_metric_of_the_table_is_served() -> None:
    names = {one.metric for one in samples(look(REPORT))}
    assert names == set(TABLE)


def test_what_the_agent_reports() -> None:
    found = served(look(REPORT))
    assert found["score{}"] == 3080
    assert found["score_penalty_points{reason=network}"] == 320
    assert found["score_penalty_points{reason=memory}"] == 0
    assert found["state{state=EngineUp}"] == 1
    assert sum(found[f"state{{state={state.value}}}"] for state in State) == 1
    assert found["rule_info{rule=EngineUp/otherwise}"] == 1
    assert found["peer_alive{host_id=2,hostname=h2}"] == 1
    assert found["peer_alive{host_id=3,hostname=h3}"] == 0
    assert found["peer_score{host_id=2,hostname=h2}"] == 3400
    assert (found["global_maintenance{}"], found["local_maintenance{}"]) == (0, 1)
    assert found["anomaly{kind=two-vms}"] == 1
    assert sum(found[f"anomaly{{kind={kind.value}}}"] for kind in Kind) == 1
    assert found["build_info{daemon=agent,version=1.2-1}"] == 1
    assert (found["agent_turns_total{}"], found["loop_seconds{}"]) == (7, 0.01)
    assert (found["start_retries{}"], found["bad_blocks{}"]) == (2, 1)
    assert (found["agent_report_age_seconds{}"], found["hosts_alive{}"]) == (4, 2)


def test_what_the_broker_knows() -> None:
    found = served(look(None))
    assert found["build_info{daemon=broker,version=1.2-1}"] == 1
    assert found["vm_state{vm=up}"] == 1
    assert found["vm_state{vm=down}"] == 0
    assert found["engine_health{health=good}"] == 1
    assert found["vm_lease_state{state=live}"] == 1
    assert found["vm_lease_owner{}"] == 1
    assert found["memory_free_bytes{}"] == 2048 * 1024 * 1024
    assert found["network_ratio{}"] == 0.8
    assert (found["bridge_up{}"], found["storage_domain_valid{}"]) == (1, 1)
    assert found["lease_age_seconds{lockspace=whiteboard}"] == 12
    assert found["lease_held{lockspace=vm}"] == 0
    assert "lease_age_seconds{lockspace=vm}" not in found
    assert found["host_lease_state{host_id=1,lockspace=whiteboard,state=live}"] == 1
    assert found["storage_seconds_count{operation=read}"] == 3
    assert found["storage_last_seconds{operation=read}"] == 0.1
    assert found["storage_waiting_seconds{operation=read}"] == 2
    assert found["storage_failures_total{operation=read}"] == 1
    assert found["transitions_total{from=EngineUp,to=EngineStop}"] == 2
    assert found["anomalies_total{kind=two-vms}"] == 3
    assert found["notifications_waiting{channel=mail}"] == 1
    assert found["notifications_lost_total{channel=mail}"] == 2


def test_an_agent_that_does_not_report_costs_its_metrics_only() -> None:
    found = served(look(None))
    assert found["hosts_alive{}"] == 2
    assert "score{}" not in found
    assert not [name for name in found if name.startswith(("state{", "peer", "anomaly{"))]


def test_before_the_agent_has_said_anything() -> None:
    found = served(look(None, live=LiveHosts((), None)))
    assert "agent_report_age_seconds{}" not in found
    assert "hosts_alive{}" not in found


def test_what_monitors_cannot_tell_has_no_sample() -> None:
    found = served(look(None, monitors={"mem-free": None, "engine-health": None}))
    assert "memory_free_bytes{}" not in found
    assert found["vm_state{vm=unknown}"] == 1
    assert found["vm_lease_state{state=unknown}"] == 1


WRONG = (
    None,
    "x",
    1,
    -1.5,
    True,
    [],
    {},
    math.nan,
    math.inf,
    10**400,
    [["a", 2]],
    [[2, "h2", True, 10**400]],
    {"a": "b"},
    "ü\n",
)


@pytest.mark.parametrize("key", [*REPORT, "surprise"])
@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_a_report_of_another_version_harms_nobody(key: str, wrong: object) -> None:
    found = served(look({**REPORT, key: wrong}))
    assert found["agent_report_age_seconds{}"] == 4
    assert "score{}" in found or key == "score"


def test_a_real_agents_report_is_served(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.broker.values |= {"engine-health": UP, "network": 0.5}
    host.broker.put_peer(2, 5)
    settings = settings_for(host.root)
    object.__setattr__(settings, "broker", BrokerConf(metrics_listen=("127.0.0.1", 1)))
    host.bell.plan = [lambda: None] * 3
    Agent(host.world(), settings).run()
    found = served(look(host.broker.reports[-1]))
    assert found["score{}"] == 2600
    assert found["score_penalty_points{reason=network}"] == 800
    assert found["state{state=EngineUp}"] == 1
    assert found["peer_alive{host_id=2,hostname=h2}"] == 0
