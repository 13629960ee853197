"""`--vm-status`: upstream's shape to the letter, and one bad block never hides the others."""

import json

import pytest

from ha.core.record import Record, encode_global, encode_record
from ha.env.live_hosts import LiveHosts
from ha.env.ports import BrokerError, BrokerUnreachable
from tests.ha.cli.sim import SimHost

UP = '{"vm": "up", "health": "good", "detail": "Up"}'
DOWN = '{"vm": "down", "health": "bad", "detail": "unknown"}'
EXTRA = "metadata_parse_version=1\nstate=EngineUp\nstopped=False\n"
TOO_NEW = b"2|2|1|52|0|x|h".ljust(4096, b"\0")


def record(host_id: int, engine_status: str, **others: object) -> bytes:
    values = {
        "timestamp": 4262, "score": 3400, "hostname": f"h{host_id}", "maintenance": False,
        "stopped": False, "conf_on_shared_storage": True, "local_conf_timestamp": 4260,
        "extra": EXTRA, **others,
    }  # fmt: skip
    return encode_record(Record(host_id=host_id, engine_status=engine_status, **values))  # type: ignore[arg-type]


@pytest.fixture
def cluster(host: SimHost) -> SimHost:
    host.broker.blocks = {0: encode_global(False), 1: record(1, UP), 2: record(2, DOWN)}
    host.broker.live = LiveHosts((1,), 3.0)
    return host


TEXT = """\


--== Host h1 (id: 1) status ==--

Host ID                            : 1
Host timestamp                     : 4262
Score                              : 3400
Engine status                      : {"vm": "up", "health": "good", "detail": "Up"}
Hostname                           : h1
Local maintenance                  : False
stopped                            : False
crc32                              : CRC1
conf_on_shared_storage             : True
local_conf_timestamp               : 4260
Status up-to-date                  : True
Extra metadata (valid at timestamp):
\tmetadata_parse_version=1
\tstate=EngineUp
\tstopped=False


--== Host h2 (id: 2) status ==--

Host ID                            : 2
Host timestamp                     : 4262
Score                              : 3400
Engine status                      : unknown stale-data
Hostname                           : h2
Local maintenance                  : False
stopped                            : False
crc32                              : CRC2
conf_on_shared_storage             : True
local_conf_timestamp               : 4260
Status up-to-date                  : False
Extra metadata (valid at timestamp):
\tmetadata_parse_version=1
\tstate=EngineUp
\tstopped=False
"""


def crc(cluster: SimHost, host_id: int) -> str:
    return cluster.broker.blocks[host_id].split(b"|")[9].decode()


def test_text(cluster: SimHost) -> None:
    assert cluster.run("--vm-status") == 0
    golden = TEXT.replace("CRC1", crc(cluster, 1)).replace("CRC2", crc(cluster, 2))
    assert cluster.said == golden
    assert cluster.err == []


def test_why_a_host_does_nothing_is_shown(cluster: SimHost) -> None:
    why = "why=Engine down, local host does not have best score [EngineDown/otherwise]"
    cluster.broker.blocks[2] = record(2, DOWN, extra=f"{EXTRA}penalties=network 800\n{why}\n")
    assert cluster.run("--vm-status") == 0
    assert f"\n\tpenalties=network 800\n\t{why}\n" in cluster.said


def test_text_says_global_maintenance_before_and_after(cluster: SimHost) -> None:
    cluster.broker.blocks[0] = encode_global(True)
    assert cluster.run("--vm-status") == 0
    banner = "\n\n!! Cluster is in GLOBAL MAINTENANCE mode !!\n"
    assert cluster.said.startswith(banner + "\n\n\n--== Host h1")
    assert cluster.said.endswith(banner)


def test_json(cluster: SimHost) -> None:
    cluster.broker.blocks[0] = encode_global(True)
    assert cluster.run("--vm-status", "--json") == 0
    status = json.loads(cluster.said)
    assert list(status) == ["1", "2", "global_maintenance"]
    assert status["global_maintenance"] is True
    assert status["1"] == {
        "host-id": 1, "host-ts": 4262, "score": 3400,
        "engine-status": {"vm": "up", "health": "good", "detail": "Up"}, "hostname": "h1",
        "maintenance": False, "stopped": False, "crc32": crc(cluster, 1),
        "conf_on_shared_storage": True, "local_conf_timestamp": 4260, "extra": EXTRA,
        "live-data": True,
    }  # fmt: skip


def test_json_knows_nothing_of_a_dead_hosts_engine(cluster: SimHost) -> None:
    cluster.broker.live = LiveHosts((2,), 3.0)
    cluster.run("--vm-status", "--json")
    dead = json.loads(cluster.said)["1"]
    assert dead["live-data"] is False
    assert dead["engine-status"]["vm"] == "unknown"


@pytest.mark.parametrize("age_seconds", [None, 61.0])
def test_nobody_is_alive_without_a_fresh_list(cluster: SimHost, age_seconds: float | None) -> None:
    cluster.broker.live = LiveHosts((1, 2), age_seconds)
    cluster.run("--vm-status", "--json")
    status = json.loads(cluster.said)
    assert not status["1"]["live-data"]
    assert not status["2"]["live-data"]


def test_bad_blocks_are_told_apart_from_the_rest(cluster: SimHost) -> None:
    cluster.broker.blocks |= {52: TOO_NEW, 60: b"\xff\xfe".ljust(4096, b"\0")}
    assert cluster.run("--vm-status", "--json") == 0
    assert list(json.loads(cluster.said)) == ["1", "2", "global_maintenance"]
    assert len(cluster.err) == 2
    assert (
        "Metadata version 2 from host 52 too new for this agent (highest compatible version: 1)"
        in cluster.err[0]
    )
    assert "host 60" in cluster.err[1]


@pytest.mark.parametrize(
    "trouble", [BrokerUnreachable("no socket"), BrokerError("storage", "input/output error")]
)
def test_no_broker(cluster: SimHost, trouble: Exception) -> None:
    cluster.broker.trouble = trouble
    assert cluster.run("--vm-status") == 1
    assert "An error occured while retrieving vm status" in cluster.complained
    assert cluster.out == []


@pytest.mark.parametrize(
    "trouble", [BrokerUnreachable("no 'socket'"), BrokerError("storage", "input/output error")]
)
def test_an_error_in_json_is_json(cluster: SimHost, trouble: Exception) -> None:
    cluster.broker.trouble = trouble
    assert cluster.run("--vm-status", "--json") == 1
    assert json.loads(cluster.said) == {"error": cluster.complained}


def test_what_is_refused_before_is_json_as_well(cluster: SimHost, bare: SimHost) -> None:
    cluster.paths.vm_conf.unlink()
    assert cluster.run("--vm-status", "--json") == 1
    assert json.loads(cluster.said) == {"error": cluster.complained}
    bare.paths.hosted_engine_conf.unlink()
    assert bare.run("--vm-status", "--json") == 1
    assert json.loads(bare.said) == {"error": "You must run deploy first"}


@pytest.mark.parametrize("status", ['{"vm": NaN}', '{"vm": 1e999}', "[" * 200, '"up"', "null"])
def test_an_engine_status_that_is_no_json_object_is_unknown(cluster: SimHost, status: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    cluster.broker.blocks = {1: record(1, status)}
    assert cluster.run("--vm-status", "--json") == 0
    found = json.loads(cluster.said, parse_constant=refuse)["1"]["engine-status"]
    assert (found["vm"], found["reason"]) == ("unknown", "not readable")


def test_a_block_cannot_steer_the_terminal(cluster: SimHost) -> None:
    hostile = record(1, UP, hostname="h1\x1b[2J", extra="state=\x9b31m\u202eEngineUp\n")
    cluster.broker.blocks = {1: hostile, 2: b"\x1b[2J".ljust(4096, b"\0")}
    assert cluster.run("--vm-status") == 0
    assert all(each.isprintable() or each in "\n\t" for each in cluster.said + cluster.complained)
    assert "Hostname                           : h1\\x1b[2J" in cluster.said


def test_json_names_hosts_by_their_ids_beside_the_flag(cluster: SimHost) -> None:
    """As upstream, for those who read it: whoever wants the hosts takes the numbers alone."""
    cluster.run("--vm-status", "--json")
    status = json.loads(cluster.said)
    hosts = {int(key): value for key, value in status.items() if key.isdecimal()}
    assert {key: value["host-id"] for key, value in hosts.items()} == {1: 1, 2: 2}
    assert set(status) - {str(key) for key in hosts} == {"global_maintenance"}


def test_no_host_data(cluster: SimHost) -> None:
    cluster.broker.blocks = {52: TOO_NEW}
    assert cluster.run("--vm-status", "--json") == 1
    assert json.loads(cluster.said) == {"global_maintenance": False}


def test_old_writers_fields_are_left_out(cluster: SimHost) -> None:
    cluster.broker.blocks = {3: b"1|1|1|3|0|x|h3".ljust(4096, b"\0")}
    cluster.broker.live = LiveHosts((3,), 0.0)
    cluster.run("--vm-status", "--json")
    old = json.loads(cluster.said)["3"]
    assert "maintenance" not in old
    assert old["engine-status"]["vm"] == "unknown"
    assert cluster.run("--vm-status") == 0
    assert "Local maintenance" not in cluster.said
