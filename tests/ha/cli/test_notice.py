"""`--set-maintenance` and the other hosts: which take notice, and what if one does not."""

from collections.abc import Callable

import pytest

from ha.core.record import Record, encode_global, encode_record
from ha.env.live_hosts import LiveHosts
from ha.env.ports import BrokerUnreachable
from tests.ha.cli.sim import SimHost

STATUS = '{"vm": "down", "health": "bad", "detail": "unknown"}'
LIMIT_SECONDS = 30.0
ALL = (1, 2, 3)


def put(host: SimHost, number: int, state: str, timestamp: int, *, stopped: bool = False) -> None:
    record = Record(
        number, timestamp, 3400, STATUS, f"h{number}", maintenance=False, stopped=stopped,
        conf_on_shared_storage=True, local_conf_timestamp=1, extra=f"state={state}\n",
    )  # fmt: skip
    host.broker.blocks[number] = encode_record(record)


def acts(host: SimHost, number: int, states: dict[float, str]) -> Callable[[], None]:
    """A live host: it writes every ten seconds, and says these states from these seconds on."""
    began = host.clock.now

    def write() -> None:
        seconds = host.clock.now - began
        told = [state for since, state in states.items() if since <= seconds]
        if seconds % 10 == 0 and told:
            put(host, number, told[-1], int(host.clock.now))

    return write


@pytest.fixture
def three(host: SimHost) -> SimHost:
    """Three hosts, of which the agent says that they are alive."""
    for number in ALL:
        put(host, number, "EngineDown", 1)
    host.broker.live = LiveHosts(ALL, 5.0)
    return host


def live(host: SimHost, states: dict[float, str], *numbers: int) -> None:
    host.clock.naps += [acts(host, number, states) for number in numbers]


def test_every_live_host_takes_notice(three: SimHost) -> None:
    live(three, {10: "EngineDown", 20: "GlobalMaintenance"}, *ALL)
    began = three.clock.now
    assert three.run("--set-maintenance", "--mode=global") == 0, three.complained
    assert three.out[0] == "Global maintenance is on"
    assert three.out[1:] == [f"  host {n} (h{n}): GlobalMaintenance" for n in ALL]
    assert three.clock.now - began == 20.0


def test_a_live_host_that_takes_no_notice_has_its_own_exit_code(three: SimHost) -> None:
    """Upstream ends with 0 before anybody has looked."""
    live(three, {10: "GlobalMaintenance"}, 1, 2)
    live(three, {10: "EngineStarting"}, 3)
    began = three.clock.now
    assert three.run("--set-maintenance", "--mode=global") == 3
    assert three.clock.now - began == LIMIT_SECONDS
    assert three.broker.blocks[0] == encode_global(True)
    assert "  host 3 (h3): EngineStarting" in three.out
    assert "on the storage, but within 30 s" in three.complained
    assert "host 3 (h3) says EngineStarting" in three.complained
    assert "host 1" not in three.complained


def test_a_word_from_before_the_flag_is_no_notice(three: SimHost) -> None:
    """A host that hangs said GlobalMaintenance once, and is still in the list of those alive."""
    put(three, 3, "GlobalMaintenance", 1)
    live(three, {10: "GlobalMaintenance"}, 1, 2)
    assert three.run("--set-maintenance", "--mode=global") == 3
    assert "host 3 (h3) says GlobalMaintenance" in three.complained


def test_a_host_in_local_maintenance_keeps_its_hands_off(three: SimHost) -> None:
    live(three, {10: "GlobalMaintenance"}, 1, 2)
    live(three, {10: "LocalMaintenance"}, 3)
    assert three.run("--set-maintenance", "--mode=global") == 0, three.complained
    assert "  host 3 (h3): LocalMaintenance" in three.out


def test_hosts_that_are_gone_or_stopped_are_not_waited_for(three: SimHost) -> None:
    three.broker.live = LiveHosts((1, 3), 5.0, dead_ids=(2,))
    put(three, 3, "AgentStopped", 1, stopped=True)
    live(three, {10: "GlobalMaintenance"}, 1)
    began = three.clock.now
    assert three.run("--set-maintenance", "--mode=global") == 0, three.complained
    assert three.clock.now - began == 10.0
    assert three.out[1:] == [
        "  host 1 (h1): GlobalMaintenance",
        "  host 2 (h2): not alive, it said EngineDown last",
        "  host 3 (h3): its agent is stopped",
    ]


@pytest.mark.parametrize("known", [LiveHosts((), None), LiveHosts(ALL, 3600.0)])
def test_without_a_list_of_hosts_alive_all_are_watched(three: SimHost, known: LiveHosts) -> None:
    three.broker.live = known
    live(three, {10: "GlobalMaintenance"}, 1)
    live(three, {20: "EngineUp"}, 2)
    began = three.clock.now
    assert three.run("--set-maintenance", "--mode=global") == 3
    assert three.clock.now - began == LIMIT_SECONDS
    assert "host 2 (h2) says EngineUp, host 3 (h3) may be alive and says nothing" in (
        three.complained
    )
    assert "  host 3 (h3): nobody knows yet whether it is alive, it said EngineDown last" in (
        three.out
    )


@pytest.mark.parametrize(("numbers", "code", "seconds"), [(ALL, 0, 20.0), ((1, 2), 3, 30.0)])
def test_in_an_agents_first_minute_nobody_is_passed_over(
    three: SimHost, numbers: tuple[int, ...], code: int, seconds: float
) -> None:
    """The agent knows nobody but itself to be alive, and nobody to be dead."""
    three.broker.live = LiveHosts((1,), 5.0)
    live(three, {10: "EngineDown", 20: "GlobalMaintenance"}, *numbers)
    began = three.clock.now
    assert three.run("--set-maintenance", "--mode=global") == code, three.complained
    assert three.clock.now - began == seconds
    assert ("host 3 (h3) may be alive" in three.complained) is (code == 3)


def test_a_host_that_was_dead_and_writes_again_is_waited_for(three: SimHost) -> None:
    three.broker.live = LiveHosts((1, 2), 5.0, dead_ids=(3,))
    live(three, {10: "EngineDown", 20: "GlobalMaintenance"}, 1, 2)
    live(three, {10: "ReinitializeFSM"}, 3)
    assert three.run("--set-maintenance", "--mode=global") == 3
    assert "host 3 (h3) says ReinitializeFSM" in three.complained


@pytest.mark.parametrize(
    ("says", "code"), [("ReinitializeFSM", 0), ("LocalMaintenance", 0), ("GlobalMaintenance", 3)]
)
def test_leaving_is_noticed_too(three: SimHost, says: str, code: int) -> None:
    three.broker.blocks[0] = encode_global(True)
    live(three, {10: "ReinitializeFSM"}, 1, 2)
    live(three, {10: says}, 3)
    assert three.run("--set-maintenance", "--mode=none") == code, three.complained
    assert f"  host 3 (h3): {says}" in three.out
    assert ("Global maintenance is off on the storage, but" in three.complained) is (code == 3)


def test_nothing_is_waited_for_when_it_was_off(three: SimHost) -> None:
    began = three.clock.now
    assert three.run("--set-maintenance", "--mode=none") == 0
    assert three.clock.now == began


def test_a_broker_that_goes_away_meanwhile_is_no_success(three: SimHost) -> None:
    def leave() -> None:
        three.broker.trouble = BrokerUnreachable("no socket")

    three.clock.naps.append(leave)
    assert three.run("--set-maintenance", "--mode=global") == 1
    assert "Global maintenance is on" in three.out
    assert "Cannot connect to the HA daemon" in three.complained


def test_a_bad_block_is_nobody_to_wait_for(three: SimHost) -> None:
    three.broker.blocks[52] = b"2|2|1|52|0|x|h".ljust(4096, b"\0")
    live(three, {10: "GlobalMaintenance"}, *ALL)
    assert three.run("--set-maintenance", "--mode=global") == 0
