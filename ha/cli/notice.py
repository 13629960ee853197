"""Which hosts have taken notice of global maintenance: what each says of itself after the write.

Upstream's command returns at once, and its users loop until they see it. A host has taken notice
when its block was written again after the flag, and says the state that the flag asks for.
"""

from collections.abc import Collection, Mapping

from ha.cli.host import Host, Refused
from ha.config_files import read_agent_conf
from ha.core.facts import State
from ha.core.record import Record, judge_block
from ha.env.ports import LiveHosts

# Exit code: the flag is on the storage, but a live host has not acted on it in time.
NOT_NOTICED = 3
_TURNS = 2
_MARGIN_SECONDS = 10.0
_POLL_SECONDS = 1.0


def wait_for_notice(host: Host, *, on: bool) -> None:
    """Wait until every live host shows the flag, two turns and ten seconds at most; say who does.

    Raises Refused with code 3 for live hosts that do not, BrokerUnreachable and BrokerError.
    """
    timing = read_agent_conf(host.paths.agent_conf).timing
    limit_seconds = _TURNS * timing.loop_seconds + _MARGIN_SECONDS
    before = _records(host, None)
    listed = _known_alive(host.broker.live_hosts(), timing.host_alive_seconds)
    deadline = host.clock.monotonic() + limit_seconds
    while True:
        now = _records(host, before.keys())
        fresh = {n for n, record in now.items() if record.timestamp != before[n].timestamp}
        missing = _not_yet(now, fresh, alive=fresh | set(listed or ()), on=on)
        # Without the agent's list of hosts alive, only the whole time shows who is.
        if (not missing and listed is not None) or host.clock.monotonic() >= deadline:
            break
        host.clock.sleep(_POLL_SECONDS)
    for number, record in now.items():
        heard = number in fresh or number in missing
        host.say(f"  {_name(record)}: {_word(record) if heard else _silence(record)}")
    if missing:
        word = "on" if on else "off"
        who = ", ".join(f"{_name(now[n])} says {_word(now[n])}" for n in missing)
        raise Refused(
            f"Global maintenance is {word} on the storage, but within {limit_seconds:.0f} s not"
            f" every live host has taken notice: {who}. Look at its agent.log",
            NOT_NOTICED,
        )


def _records(host: Host, host_ids: Collection[int] | None) -> Mapping[int, Record]:
    wanted = None if host_ids is None else sorted(host_ids)
    found = host.broker.read_blocks(wanted)
    records = {number: judge_block(number, found[number]).record for number in sorted(found)}
    return {n: record for n, record in records.items() if isinstance(record, Record)}


def _known_alive(live: LiveHosts, patience_seconds: float) -> tuple[int, ...] | None:
    if live.age_seconds is None or live.age_seconds > patience_seconds:
        return None
    return live.host_ids


def _not_yet(
    now: Mapping[int, Record], fresh: Collection[int], *, alive: Collection[int], on: bool
) -> list[int]:
    missing = []
    for number in sorted(set(alive) & now.keys()):
        state = now[number].state
        # A host in local maintenance keeps its hands off, and does not look at the flag.
        hands_off = state in (State.GLOBAL_MAINTENANCE, State.LOCAL_MAINTENANCE)
        agrees = hands_off if on else state != State.GLOBAL_MAINTENANCE
        stopped = now[number].stopped is True
        if not stopped and (number not in fresh or not agrees):
            missing.append(number)
    return missing


def _name(record: Record) -> str:
    return f"host {record.host_id} ({record.hostname})"


def _word(record: Record) -> str:
    return record.state or "no state"


def _silence(record: Record) -> str:
    return "its agent is stopped" if record.stopped else f"not alive, it said {_word(record)} last"
