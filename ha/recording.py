"""The recordings' format: observations and decisions as JSON values, and back.

A recording is JSON Lines, plain or gzipped, one trace a line: `{"seed", "host_id",
"min_memory_mb", "steps": [{"observation", "decision"}, ...]}`, with upstream's names in it.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeGuard, TypeVar

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
from ha.core.record import MAX_HOST_ID
from ha.core.score import CoreSettings, ScoreSettings
from ha.core.timing import Timing
from ha.core.vm_lease import UNKNOWN_LEASE, vm_lease_from
from ha.turn import Turn

MOST = 10**15
_SNAPSHOT = 3
T = TypeVar("T", ScoreSettings, Timing)


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
        global_maintenance=flag_in(seen, "global_maintenance", where),
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
        network=number_in(value, "network", where),
        bridge=flag_in(value, "bridge", where),
        memory_free_mib=_number_or_none(value, "mem-free", where),
        cpu_load=_number_or_none(value, "cpu-load", where),
        engine=engine_status(value.get("engine-health")) or UNKNOWN_ENGINE,
        storage_domain=flag_in(value, "storage-domain", where),
        maintenance=flag_in(value, "maintenance", where),
        lease=vm_lease_from(value.get("vm-lease")),
    )


def _peer(host_id: str, value: object, where: str) -> Peer:
    where = f"{where}: host {host_id}"
    record = mapping(value, where)
    return Peer(
        host_id=host_id_of(host_id, where),
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


def flag_in(value: Mapping[str, Any], key: str, where: str) -> bool:
    """Read a flag. Raises BadRecording, which begins with `where`."""
    found = value.get(key)
    if not isinstance(found, bool):
        raise BadRecording(f"{where}: {key}: expected true or false, found {found!r}")
    return found


def _integer(value: Mapping[str, Any], key: str, where: str) -> int:
    found = value.get(key)
    if not _is_number(found, int):
        raise BadRecording(f"{where}: {key}: expected a whole number, found {str(found)[:40]}")
    return int(found)


def number_in(value: Mapping[str, Any], key: str, where: str) -> float:
    """Read a number. Raises BadRecording, which begins with `where`."""
    found = value.get(key)
    if not _is_number(found, int | float):
        raise BadRecording(f"{where}: {key}: expected a number, found {str(found)[:40]}")
    return float(found)


def _is_number(value: object, kind: Any) -> TypeGuard[int | float]:
    """Whether it is of this kind, and no more than any clock or counter ever shows."""
    return isinstance(value, kind) and not isinstance(value, bool) and abs(value) <= MOST


def _number_or_none(value: Mapping[str, Any], key: str, where: str) -> float | None:
    return None if value.get(key) is None else number_in(value, key, where)


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
    where = f"{where}: memory"
    found = mapping(value, where)
    history = found.get("history")
    if found.get("state") not in list(State) or not isinstance(history, list):
        raise BadRecording(f"{where}: no memory: expected a state and a history")
    return Memory(
        state=State(found["state"]),
        timer_started=_moment(found, "timer_started", where),
        retries=_integer(found, "retries", where),
        last_start=_moment(found, "last_start", where),
        score=_integer(found, "score", where),
        history=tuple(_snapshot(one, f"{where}: history") for one in history),
    )


def settings_from(plain: CoreSettings, value: object, where: str) -> CoreSettings:
    """Read the settings of an agent's life. Raises BadRecording, which begins with `where`."""
    where = f"{where}: settings"
    found = mapping(value, where)
    return replace(
        plain,
        score=_numbers(ScoreSettings(), found.get("score"), f"{where}: score"),
        timing=_numbers(Timing(), found.get("timing"), f"{where}: timing"),
        conf_on_shared_storage=flag_in(found, "conf_on_shared_storage", where),
    )


def _numbers(defaults: T, value: object, where: str) -> T:
    """Read a value made of numbers; what an older recording does not have has its default."""
    found = mapping(value, where)
    known = {field.name: type(getattr(defaults, field.name)) for field in fields(defaults)}
    if unknown := sorted(found.keys() - known):
        raise BadRecording(f"{where}: {', '.join(unknown)[:40]}: unknown")
    read = {int: _integer, float: number_in}
    values: dict[str, Any] = {key: read[known[key]](found, key, where) for key in found}
    return replace(defaults, **values)


def _snapshot(value: object, where: str) -> Snapshot:
    if not isinstance(value, list) or len(value) != _SNAPSHOT:
        raise BadRecording(f"{where}: expected a time, a load and timestamps")
    now, load, stamps = value
    plain = {"now": now, "load": load}
    return Snapshot(
        Monotonic(_integer(plain, "now", where)),
        _number_or_none(plain, "load", where),
        {host_id_of(host, where): _integer(stamps, host, where) for host in mapping(stamps, where)},
    )


def _moment(value: Mapping[str, Any], key: str, where: str) -> Monotonic | None:
    return None if value.get(key) is None else Monotonic(_integer(value, key, where))


def host_id_of(text: object, where: str) -> int:
    """Read a host id, a number or its digits. Raises BadRecording."""
    digits = "" if isinstance(text, bool) else str(text)
    if not (digits.isascii() and digits.isdecimal()) or not 1 <= int(digits[:9]) <= MAX_HOST_ID:
        raise BadRecording(f"{where}: {digits[:20]!r} is no host id from 1 to {MAX_HOST_ID}")
    return int(digits)
