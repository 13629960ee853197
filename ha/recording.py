"""The recordings' format: observations and decisions as JSON values, and back.

A recording is JSON Lines, plain or gzipped, one trace a line: `{"seed", "host_id",
"min_memory_mb", "steps": [{"observation", "decision"}, ...]}`, with upstream's names in it.
"""

import json
from collections.abc import Mapping
from typing import Any

from ha.core.facts import (
    UNKNOWN_ENGINE,
    EngineStatus,
    Local,
    Memory,
    Monotonic,
    Observation,
    Peer,
    Snapshot,
    State,
    engine_status,
)
from ha.core.vm_lease import UNKNOWN_LEASE, vm_lease_from
from ha.turn import Turn


class BadRecording(Exception):
    """Raised for a file that is no recording; says where and what is wrong with it."""


def observation_from(value: object, where: str) -> Observation:
    """Read one step's observation. Raises BadRecording, which begins with `where`."""
    seen = mapping(value, where)
    local = mapping(seen.get("local"), f"{where}: local")
    hosts = mapping(seen.get("hosts"), f"{where}: hosts")
    return Observation(
        now=Monotonic(_integer(seen, "now", where)),
        local=_local(local, f"{where}: local"),
        peers=tuple(_peer(host_id, record, where) for host_id, record in hosts.items()),
        global_maintenance=_flag(seen, "global_maintenance", where),
    )


def step_of(seen: Observation, turn: Turn, outcomes: Mapping[str, bool]) -> dict[str, object]:
    """Return one turn as a step; `outcomes` has `start_vm_succeeds` and `stop_vm_succeeds`."""
    return {
        "observation": {
            "now": seen.now,
            "global_maintenance": seen.global_maintenance,
            "local": _local_as_dict(seen.local),
            "hosts": {str(peer.host_id): _peer_as_dict(peer) for peer in seen.peers},
            **outcomes,
        },
        "decision": decision_of(turn),
    }


def decision_of(turn: Turn) -> dict[str, object]:
    """Return what a turn came to: states entered, requests made, score published."""
    return {
        "states": [state.value for state in turn.states],
        "actions": [action.value for action in turn.actions],
        "score": turn.memory.score,
    }


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """Check that a JSON value is an object."""
    if not isinstance(value, Mapping):
        raise BadRecording(f"{where}: expected an object, found {json.dumps(value)[:40]}")
    return value


def _local(value: Mapping[str, Any], where: str) -> Local:
    return Local(
        network=_number(value, "network", where),
        bridge=_flag(value, "bridge", where),
        memory_free_mib=_number_or_none(value, "mem-free", where),
        cpu_load=_number_or_none(value, "cpu-load", where),
        engine=engine_status(value.get("engine-health")) or UNKNOWN_ENGINE,
        storage_domain=_flag(value, "storage-domain", where),
        maintenance=_flag(value, "maintenance", where),
        lease=vm_lease_from(value.get("vm-lease")),
    )


def _peer(host_id: str, value: object, where: str) -> Peer:
    where = f"{where}: host {host_id}"
    record = mapping(value, where)
    if not host_id.isdecimal():
        raise BadRecording(f"{where}: the id is not a number")
    return Peer(
        host_id=int(host_id),
        hostname=str(record.get("hostname", f"host {host_id}")),
        timestamp=_integer(record, "host-ts", where),
        score=_integer(record, "score", where),
        engine=peer_engine(record.get("engine-status")),
    )


def peer_engine(value: object) -> EngineStatus | None:
    """Read a peer's engine status, an object or its JSON text; None when it is neither."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return engine_status(value)


def _local_as_dict(local: Local) -> dict[str, object]:
    # Upstream's recordings have no such key.
    lease = {} if local.lease == UNKNOWN_LEASE else {"vm-lease": local.lease.as_dict()}
    return {
        "network": local.network,
        "bridge": local.bridge,
        "mem-free": local.memory_free_mib,
        "cpu-load": local.cpu_load,
        "engine-health": local.engine.as_dict(),
        "storage-domain": local.storage_domain,
        "maintenance": local.maintenance,
        **lease,
    }


def _peer_as_dict(peer: Peer) -> dict[str, object]:
    return {
        "host-id": peer.host_id,
        "host-ts": peer.timestamp,
        "score": peer.score,
        "engine-status": peer.engine.as_dict() if peer.engine else None,
        "hostname": peer.hostname,
    }


def _flag(value: Mapping[str, Any], key: str, where: str) -> bool:
    found = value.get(key)
    if not isinstance(found, bool):
        raise BadRecording(f"{where}: {key}: expected true or false, found {found!r}")
    return found


def _integer(value: Mapping[str, Any], key: str, where: str) -> int:
    found = value.get(key)
    if isinstance(found, bool) or not isinstance(found, int):
        raise BadRecording(f"{where}: {key}: expected a whole number, found {found!r}")
    return found


def _number(value: Mapping[str, Any], key: str, where: str) -> float:
    found = value.get(key)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise BadRecording(f"{where}: {key}: expected a number, found {found!r}")
    return float(found)


def _number_or_none(value: Mapping[str, Any], key: str, where: str) -> float | None:
    return None if value.get(key) is None else _number(value, key, where)


def memory_as_dict(memory: Memory) -> dict[str, object]:
    """Return a memory as a JSON value."""
    return {
        "state": memory.state.value,
        "timer_started": memory.timer_started,
        "retries": memory.retries,
        "last_start": memory.last_start,
        "score": memory.score,
        "history": [
            [old.now, old.cpu_load, {str(host): stamp for host, stamp in old.timestamps.items()}]
            for old in memory.history
        ],
    }


def memory_from(value: object, where: str) -> Memory:
    """Read a memory. Raises BadRecording, which begins with `where`."""
    found = mapping(value, where)
    try:
        return Memory(
            state=State(found["state"]),
            timer_started=found["timer_started"],
            retries=int(found["retries"]),
            last_start=found["last_start"],
            score=int(found["score"]),
            history=tuple(
                Snapshot(now, load, {int(host): stamp for host, stamp in stamps.items()})
                for now, load, stamps in found["history"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecording(f"{where}: no memory: {error}") from error
