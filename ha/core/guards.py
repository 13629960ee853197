"""The conditions of the state machine's table; each reads as the sentence that it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ha.core.actions import Action
from ha.core.facts import PAUSED, Facts, Health, Memory, Vm

Guard: TypeAlias = Callable[[Memory, Facts], bool]


def otherwise(_memory: Memory, _facts: Facts) -> bool:
    """Whatever is the case."""
    return True


def global_maintenance(_memory: Memory, facts: Facts) -> bool:
    """The cluster is in global maintenance."""
    return facts.global_maintenance


def local_maintenance(_memory: Memory, facts: Facts) -> bool:
    """This host is in local maintenance."""
    return facts.local.maintenance


def vm_unknown(_memory: Memory, facts: Facts) -> bool:
    """The hypervisor does not tell the VM's state."""
    return facts.local.engine.vm is Vm.UNKNOWN


def vm_up(_memory: Memory, facts: Facts) -> bool:
    """The VM is up on this host."""
    return facts.local.engine.vm is Vm.UP


def vm_up_and_healthy(memory: Memory, facts: Facts) -> bool:
    """The VM is up on this host and the engine answers."""
    return vm_up(memory, facts) and facts.local.engine.health is Health.GOOD


def vm_not_up(memory: Memory, facts: Facts) -> bool:
    """The VM is not up on this host."""
    return not vm_up(memory, facts)


def vm_paused(_memory: Memory, facts: Facts) -> bool:
    """The VM on this host is paused."""
    return facts.local.engine.detail == PAUSED


def vm_down(_memory: Memory, facts: Facts) -> bool:
    """The VM is down as it should be: not started here, or running elsewhere."""
    return facts.local.engine.vm is Vm.DOWN


def vm_down_unexpectedly(_memory: Memory, facts: Facts) -> bool:
    """The VM was here and stopped unasked."""
    return facts.local.engine.vm is Vm.DOWN_UNEXPECTED


def engine_health_bad(_memory: Memory, facts: Facts) -> bool:
    """The best engine's health page does not answer well."""
    return facts.best_engine.health is Health.BAD


def best_engine_not_up(_memory: Memory, facts: Facts) -> bool:
    """The VM is up nowhere that we know of."""
    return facts.best_engine.vm is not Vm.UP


def best_engine_up_here(_memory: Memory, facts: Facts) -> bool:
    """The VM is up, and no peer alive has a better one."""
    return facts.best_engine.vm is Vm.UP and facts.best_engine_peer is None


def best_engine_up_on_a_peer(_memory: Memory, facts: Facts) -> bool:
    """The VM is up on a peer alive, better than here."""
    return facts.best_engine.vm is Vm.UP and facts.best_engine_peer is not None


def best_engine_not_here(_memory: Memory, facts: Facts) -> bool:
    """A peer alive has a better engine than this host."""
    return facts.best_engine_peer is not None


def liveness_unknown(_memory: Memory, facts: Facts) -> bool:
    """The history is too short to tell which peers are alive."""
    return not facts.liveness_known


def lease_held_by_a_live_peer(_memory: Memory, facts: Facts) -> bool:
    """Another host holds the VM's lease and is seen to renew its own: a start here must fail."""
    return facts.local.lease.kept_from(facts.host_id)


def no_peer_scores_higher(memory: Memory, facts: Facts) -> bool:
    """No peer alive has a better score; with equal ones all try and the lease decides.

    Upstream made it so after nobody started the engine when all scored the same (rhbz#1093638).
    """
    peer = facts.best_score_peer
    return peer is None or peer.score <= memory.score


def peer_scores_much_higher(memory: Memory, facts: Facts) -> bool:
    """A peer alive scores better by the restart threshold."""
    peer = facts.best_score_peer
    return peer is not None and peer.score >= memory.score + facts.timing.restart_threshold


def timer_not_started(memory: Memory, _facts: Facts) -> bool:
    """This is the first turn in this state."""
    return memory.timer_started is None


def name_of(guard: Guard) -> str:
    """Return what a guard is called where people meet it: logs, whiteboard, metrics, pages."""
    if isinstance(guard, TimerOver | Done):
        return guard.name
    return str(getattr(guard, "__name__", guard)).replace("_", "-")


@dataclass(frozen=True, slots=True)
class TimerOver:
    """The state's limit has passed; counted from the second turn in it (strictly more)."""

    limit: str
    """The name of the limit in Timing."""

    @property
    def name(self) -> str:
        """Such as starting-limit."""
        return f"{self.limit.removesuffix('_seconds').replace('_', '-')}-limit"

    def __call__(self, memory: Memory, facts: Facts) -> bool:
        started = memory.timer_started
        return started is not None and started + self.seconds(facts) < facts.now

    def seconds(self, facts: Facts) -> float:
        """The limit's value."""
        value: float = getattr(facts.timing, self.limit)
        return value


@dataclass(frozen=True, slots=True)
class Done:
    """The request that was made a moment ago went so."""

    action: Action
    succeeded: bool

    @property
    def name(self) -> str:
        """Such as start-vm-accepted."""
        return f"{self.action.name_in_rules}-{'accepted' if self.succeeded else 'refused'}"

    def __call__(self, _memory: Memory, facts: Facts) -> bool:
        result = facts.result
        return (
            result is not None
            and result.action is self.action
            and result.succeeded is self.succeeded
        )
