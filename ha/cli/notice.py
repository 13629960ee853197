"""Which hosts have taken notice of global maintenance: what each says of itself after the write.

Upstream's command returns at once, and its users loop until they see it. A host has taken notice
when its block was written again after the flag, and says the state that the flag asks for. One of
which nobody knows yet whether it is alive, as in an agent's first minute, is waited for as well.
"""

from collections.abc import Collection, Mapping

from ha.cli.host import Host, Refused
from ha.config_files import read_agent_conf
from ha.core.facts import State
from ha.core.record import Record, judge_block
from ha.env.live_hosts import LiveHosts

# Exit code: the flag is written, but not proven to be heeded by everybody in time.
NOT_PROVEN = 3
_TURNS = 2
_MARGIN_SECONDS = 10.0
_POLL_SECONDS = 1.0


def wait_for_notice(host: Host, *, on: bool) -> None:
    """Wait until all hosts that may live show the flag, two turns and 10 s at most; say who does.

    Raises Refused with code 3 for those that do not, BrokerUnreachable and BrokerError.
    """
    timing = read_agent_conf(host.paths.agent_conf).timing
    limit_seconds = _TURNS * timing.loop_seconds + _MARGIN_SECONDS
    before = _records(host, None)
    known = _still_true(host.broker.live_hosts(), timing.host_alive_seconds)
    deadline = host.clock.monotonic() + limit_seconds
    while True:
        now = _records(host, before.keys())
        fresh = {n for n, record in now.items() if record.timestamp != before[n].timestamp}
        missing = _not_yet(now, fresh, dead=set(known.dead_ids) - fresh, on=on)
        if not missing or host.clock.monotonic() >= deadline:
            break
        host.clock.sleep(_POLL_SECONDS)
    for number, record in now.items():
        heard = number in fresh or (number in missing and number in known.host_ids)
        silence = _silence(record, dead=number not in missing)
        host.say(f"  {_name(record)}: {_word(record) if heard else silence}")
    if missing:
        word = "on" if on else "off"
        who = ", ".join(
            f"{_name(now[n])} says {_word(now[n])}"
            if n in fresh or n in known.host_ids
            else f"{_name(now[n])} may be alive and says nothing"
            for n in missing
        )
        raise Refused(
            f"Global maintenance is {word} on the storage, but within {limit_seconds:.0f} s not"
            f" every live host has taken notice: {who}. Look at its agent.log",
            NOT_PROVEN,
        )


def _records(host: Host, host_ids: Collection[int] | None) -> Mapping[int, Record]:
    wanted = None if host_ids is None else sorted(host_ids)
    found = host.broker.read_blocks(wanted)
    records = {number: judge_block(number, found[number]).record for number in sorted(found)}
    return {n: record for n, record in records.items() if isinstance(record, Record)}


def _still_true(live: LiveHosts, patience_seconds: float) -> LiveHosts:
    """What the agent knows of the others; nothing when it has not said so for long."""
    if live.age_seconds is None or live.age_seconds > patience_seconds:
        return LiveHosts((), None)
    return live


def _not_yet(
    now: Mapping[int, Record], fresh: Collection[int], *, dead: Collection[int], on: bool
) -> list[int]:
    missing = []
    for number in sorted(now.keys() - set(dead)):
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


def _silence(record: Record, *, dead: bool) -> str:
    if record.stopped:
        return "its agent is stopped"
    life = "not alive" if dead else "nobody knows yet whether it is alive"
    return f"{life}, it said {_word(record)} last"
