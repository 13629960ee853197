"""One look at the world: ports in, an observation out. Trouble of the world becomes values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ha.core.facts import UNKNOWN_ENGINE, Local, Monotonic, Observation, Peer, engine_status
from ha.core.record import GLOBAL_BLOCK, Block, GlobalRecord, Record, Verdict, judge_block
from ha.core.vm_lease import vm_lease_from
from ha.env.ports import Broker, BrokerError, BrokerUnreachable
from ha.recording import peer_engine


class Blind(Exception):
    """Raised when the shared storage or the broker cannot be looked at, so nothing can be decided.

    Without the peers' records every host would believe that it is alone.
    """


@dataclass(frozen=True, slots=True)
class Known:
    """The hosts that have a block, as far as is known, and when the whole range was read last."""

    host_ids: frozenset[int] = frozenset()
    full_read_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at the whiteboard gave."""

    peers: tuple[Peer, ...]
    global_maintenance: bool
    bad: tuple[Block, ...]
    known: Known
    own: bytes | None = None
    """Our own block, when the whole range was read; empty when it is."""


def look_at_host(broker: Broker, *, maintenance: bool) -> Local:
    """Read the monitors. Raises Blind, also when they find the storage domain invalid.

    In local maintenance the storage may be disconnected, so there its state is only told.
    """
    try:
        values = broker.monitors()
    except (BrokerUnreachable, BrokerError) as error:
        raise Blind(f"Cannot read the monitors: {error}") from error
    local = _local(values, maintenance)
    if not local.storage_domain and not maintenance:
        raise Blind("The hosted engine's storage domain is not valid")
    return local


def look_at_whiteboard(
    broker: Broker, known: Known, *, host_id: int, now: float, full_read_seconds: float
) -> Sight:
    """Read the blocks of the known hosts, now and then all of them. Raises Blind.

    Our own block decides nothing: what counts is what we see ourselves.
    """
    full = now - known.full_read_at >= full_read_seconds
    wanted = None if full else sorted({GLOBAL_BLOCK, *known.host_ids} - {host_id})
    try:
        raw = broker.read_blocks(wanted)
    except (BrokerUnreachable, BrokerError) as error:
        raise Blind(f"Cannot read the whiteboard: {error}") from error
    blocks = [judge_block(number, raw[number]) for number in sorted(raw) if number != host_id]
    if full:
        found = frozenset(block.host_id for block in blocks if block.verdict is not Verdict.EMPTY)
        known = Known(found - {GLOBAL_BLOCK}, now)
    return Sight(
        peers=tuple(_peer(block.record) for block in blocks if isinstance(block.record, Record)),
        global_maintenance=_global_maintenance(blocks),
        bad=tuple(block for block in blocks if block.bad),
        known=known,
        own=raw.get(host_id, b"") if full else None,
    )


def observation(now: Monotonic, local: Local, sight: Sight) -> Observation:
    """Put the two looks together."""
    return Observation(now, local, sight.peers, sight.global_maintenance)


def _global_maintenance(blocks: Sequence[Block]) -> bool:
    """As upstream: a block 0 that cannot be read, or is not there, is no maintenance."""
    records = [block.record for block in blocks if isinstance(block.record, GlobalRecord)]
    return any(record.maintenance for record in records)


def _peer(record: Record) -> Peer:
    return Peer(
        host_id=record.host_id,
        hostname=record.hostname,
        timestamp=record.timestamp,
        score=record.score,
        engine=peer_engine(record.engine_status),
    )


def _local(values: Mapping[str, object], maintenance: bool) -> Local:
    return Local(
        network=_number(values.get("network")) or 0.0,
        bridge=values.get("bridge") is True,
        memory_free_mib=_number(values.get("mem-free")),
        cpu_load=_number(values.get("cpu-load")),
        engine=engine_status(values.get("engine-health")) or UNKNOWN_ENGINE,
        storage_domain=values.get("storage-domain") is True,
        maintenance=maintenance,
        lease=vm_lease_from(values.get("vm-lease")),
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
