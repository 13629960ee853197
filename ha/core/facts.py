"""The values that the core works on: what is seen (facts) and what is kept (memory)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from ha.core.actions import Result
from ha.core.timing import Timing
from ha.core.vm_lease import UNKNOWN_LEASE, VmLease

Monotonic = NewType("Monotonic", int)
"""Whole seconds of this host's monotonic clock; never compared with another host's."""


class State(StrEnum):
    """The states, named as upstream names them in logs and on the whiteboard."""

    START = "StartState"
    REINITIALIZE_FSM = "ReinitializeFSM"
    GLOBAL_MAINTENANCE = "GlobalMaintenance"
    LOCAL_MAINTENANCE = "LocalMaintenance"
    UNKNOWN_LOCAL_VM_STATE = "UnknownLocalVmState"
    ENGINE_DOWN = "EngineDown"
    ENGINE_START = "EngineStart"
    ENGINE_STARTING = "EngineStarting"
    ENGINE_UP = "EngineUp"
    ENGINE_UP_BAD_HEALTH = "EngineUpBadHealth"
    ENGINE_STOP = "EngineStop"
    ENGINE_FORCE_STOP = "EngineForceStop"
    ENGINE_MAYBE_AWAY = "EngineMaybeAway"
    ENGINE_UNEXPECTEDLY_DOWN = "EngineUnexpectedlyDown"
    AGENT_STOPPED = "AgentStopped"


class Vm(StrEnum):
    """The engine VM on one host."""

    UP = "up"
    DOWN = "down"
    """It was not started here, or its lease is held elsewhere, or it moved away."""
    DOWN_UNEXPECTED = "down_unexpected"
    """It was here and stopped in another way."""
    DOWN_MISSING = "down_missing"
    """It was here, and the hypervisor no longer knows it."""
    UNKNOWN = "unknown"


class Health(StrEnum):
    """What the engine's health page said."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


PAUSED = "Paused"


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine as one host sees it; `detail` is the hypervisor's word for the VM's state."""

    vm: Vm
    health: Health
    detail: str
    reason: str | None = None

    @property
    def rank(self) -> int:
        """How good this is, to find the best engine: upstream's engine_status_score."""
        if self.vm is Vm.UNKNOWN:
            return 0
        if self.vm is not Vm.UP:
            return 1
        if self.detail == PAUSED:
            return 2
        return 4 if self.health is Health.GOOD else 3

    def as_dict(self) -> dict[str, str]:
        """The status as upstream's monitors give it."""
        status = {"vm": self.vm.value, "health": self.health.value, "detail": self.detail}
        return status if self.reason is None else {**status, "reason": self.reason}

    def as_json(self) -> str:
        """The status as it stands on the whiteboard."""
        return json.dumps(self.as_dict())


UNKNOWN_ENGINE = EngineStatus(Vm.UNKNOWN, Health.UNKNOWN, "unknown", "failed to getVmStats")


def engine_status(value: object) -> EngineStatus | None:
    """Read a monitor's or a peer's status; None when it is none; unknown words are UNKNOWN."""
    if not isinstance(value, Mapping) or "vm" not in value:
        return None
    vm, health = str(value["vm"]), str(value.get("health"))
    reason = value.get("reason")
    return EngineStatus(
        vm=Vm(vm) if vm in set(Vm) else Vm.UNKNOWN,
        health=Health(health) if health in set(Health) else Health.UNKNOWN,
        detail=str(value.get("detail", "unknown")),
        reason=None if reason is None else str(reason),
    )


@dataclass(frozen=True, slots=True)
class Local:
    """What the monitors say of this host; None where they cannot tell."""

    network: float
    """Share of successful probes, 0 to 1."""
    bridge: bool
    memory_free_mib: float | None
    cpu_load: float | None
    """Share of the processors in use, 0 to 1, without the engine VM."""
    engine: EngineStatus
    storage_domain: bool
    maintenance: bool
    lease: VmLease = UNKNOWN_LEASE
    """The engine VM's lease. Unknown, it has no part in a decision."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host's record of this turn, as far as decisions need it."""

    host_id: int
    hostname: str
    timestamp: int
    score: int
    engine: EngineStatus | None


@dataclass(frozen=True, slots=True)
class Observation:
    """All that was seen at the start of one turn."""

    now: Monotonic
    local: Local
    peers: tuple[Peer, ...]
    global_maintenance: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is remembered of one turn's observation: the peers' timestamps by host id."""

    now: Monotonic
    cpu_load: float | None
    timestamps: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept between two turns."""

    state: State = State.START
    timer_started: Monotonic | None = None
    """When the second turn in this state began, in states that have a limit."""
    retries: int = 0
    last_start: Monotonic | None = None
    score: int = 0
    """The score published last: rules compare it, not the one of the turn that is under way."""
    history: tuple[Snapshot, ...] = ()
    """Newest first."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a decision rests on; `alive` are the peers known to be alive."""

    now: Monotonic
    host_id: int
    local: Local
    global_maintenance: bool
    alive: tuple[Peer, ...]
    liveness_known: bool
    """Whether the history reaches back far enough to tell who is alive."""
    timing: Timing
    result: Result | None = None
    """How the request went that the core made a moment ago in this turn."""
    lease_host: str = ""
    """The name of the host that holds the VM's lease, as far as its record tells it."""

    @property
    def best_engine_peer(self) -> Peer | None:
        """The peer with a better engine than the one here; None when ours is as good.

        A peer that says so while this host has the VM and holds its lease says what once was.
        """
        if self.local.engine.vm is Vm.UP and self.local.lease.held_by(self.host_id):
            return None
        best = max(self.alive, key=_engine_rank, default=None)
        return best if best and _engine_rank(best) > self.local.engine.rank else None

    @property
    def best_engine(self) -> EngineStatus:
        """The best engine among this host's and those of the peers alive."""
        peer = self.best_engine_peer
        return peer.engine if peer and peer.engine else self.local.engine

    @property
    def best_score_peer(self) -> Peer | None:
        """The peer alive with the best score; None when that is 0."""
        best = max(self.alive, key=lambda peer: peer.score, default=None)
        return best if best and best.score != 0 else None


def _engine_rank(peer: Peer) -> int:
    return peer.engine.rank if peer.engine else 0
