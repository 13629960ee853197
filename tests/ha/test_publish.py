"""What stands in the readable part of this host's block: why, and by which rule."""

from dataclasses import replace

import pytest

from ha.core.facts import Memory, Observation, Peer, Snapshot, State
from ha.core.record import BLOCK_BYTES, HEAD_BYTES, Record, encode_record, judge_block
from ha.publish import WHY_BYTES, Publisher
from ha.turn import Turn, take_turn
from tests.ha.core.worlds import ABSENT, GOOD, NOW, SETTINGS, local

HERE = Publisher(1, "h1.example.com", True, "1.2-1")


def turn_of(state: State, peer: str = "h2", **changes: object) -> Turn:
    """One turn with a peer that runs the engine and is alive."""
    past = Snapshot(NOW, None, {2: 1})
    memory = Memory(state=state, history=(replace(past, now=NOW - 70),))
    seen = Observation(NOW, local(ABSENT), (Peer(2, peer, 2, 3400, GOOD),), False)
    seen = replace(seen, local=replace(seen.local, **changes))  # type: ignore[arg-type]
    return take_turn(memory, seen, SETTINGS, lambda _: True)


def lines_of(record: Record) -> list[str]:
    """The lines after a way over the storage."""
    found = judge_block(record.host_id, encode_record(record)).record
    assert isinstance(found, Record)
    return found.extra.splitlines()


def published(turn: Turn, publisher: Publisher = HERE) -> list[str]:
    return lines_of(publisher.record(turn, wall_seconds=1e9, conf_timestamp=5))


def test_the_last_line_says_why_and_names_the_rule() -> None:
    lines = published(turn_of(State.ENGINE_DOWN))
    rule = "[EngineDown/best-engine-up-on-a-peer]"
    assert lines[-1] == f"why=Engine vm is running on host h2 (id 2) {rule}"


def test_a_turn_of_several_decisions_says_them_all() -> None:
    memory = Memory(state=State.ENGINE_DOWN, history=(Snapshot(NOW, None, {}),))
    memory = replace(memory, history=(replace(memory.history[0], now=NOW - 70),), score=3400)
    turn = take_turn(
        memory, Observation(NOW, local(ABSENT), (), False), SETTINGS, lambda _action: True
    )
    assert published(turn)[-1] == (
        "why=Engine down and local host has best score (3400), attempting to start engine VM"
        " [EngineDown/no-peer-scores-higher]"
        "; Starting the engine VM [EngineStart/request-start-vm]"
        "; Engine VM started [EngineStart/start-vm-accepted]"
    )


def test_what_lowers_the_score_is_told() -> None:
    lines = published(turn_of(State.ENGINE_DOWN, network=0.5, bridge=False))
    assert "penalties=network 800, bridge 600" in lines
    lines = published(turn_of(State.LOCAL_MAINTENANCE, maintenance=True))
    assert "penalties=state all" in lines
    assert not [line for line in published(turn_of(State.ENGINE_DOWN)) if "penalties" in line]


def test_upstreams_lines_come_first_and_as_they_were() -> None:
    keys = [line.partition("=")[0] for line in published(turn_of(State.ENGINE_DOWN, bridge=False))]
    assert keys == [
        *("metadata_parse_version", "metadata_feature_version", "timestamp", "host-id", "score"),
        *("vm_conf_refresh_time", "conf_on_shared_storage", "version"),
        *("maintenance", "state", "stopped", "penalties", "why"),
    ]


@pytest.mark.parametrize(
    "name", ["h2\nstate=EngineUp", "\0" * 9 + "h2", "h" * 400, "\u00e4" * 200, "h2\rwhy=x"]
)
def test_a_peers_name_can_neither_add_a_line_nor_burst_the_block(name: str) -> None:
    publisher = replace(HERE, version="v" * 200)
    record = publisher.record(turn_of(State.ENGINE_DOWN, name), wall_seconds=1e9, conf_timestamp=5)
    assert len(encode_record(record)) == BLOCK_BYTES
    assert len(record.extra.encode()) < BLOCK_BYTES - HEAD_BYTES - WHY_BYTES
    states = [line for line in record.extra.split("\n") if line.startswith("state=")]
    assert states == ["state=EngineDown"]
    assert record.state == "EngineDown"


def test_the_farewell_says_why_too() -> None:
    record = HERE.farewell(ABSENT, now=5, wall_seconds=1e9, maintenance=False, conf_timestamp=5)
    assert lines_of(record)[-1] == "why=The agent has ended"
