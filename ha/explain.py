"""Why a rule of the state machine did not hold, in a few words for a person."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from ha.core import guards as g
from ha.core.facts import Facts, Memory
from ha.core.states import RULES
from ha.turn import Answer

Saying: TypeAlias = Callable[[Memory, Facts], str]


def passed_over(answer: Answer) -> Iterator[tuple[str, str]]:
    """Yield each rule that was asked before the one that held, by name, and what was the case."""
    for rule in RULES[answer.old]:
        if f"{answer.old.value}/{rule.name}" == answer.rule:
            return
        yield rule.name, why_not(rule.when, answer.memory, answer.facts)


def why_not(guard: g.Guard, memory: Memory, facts: Facts) -> str:
    """Say what is the case instead of what the guard asks for."""
    if isinstance(guard, g.TimerOver):
        return _timer(guard, memory, facts)
    if isinstance(guard, g.Done):
        return _result(guard, facts)
    saying = SAYINGS.get(guard)
    return saying(memory, facts) if saying else "it is not so"


def _timer(guard: g.TimerOver, memory: Memory, facts: Facts) -> str:
    limit = f"{guard.seconds(facts):g} s"
    if memory.timer_started is None:
        return f"{limit}, which begin with the second turn here"
    return f"{facts.now - memory.timer_started} of {limit}"


def _result(guard: g.Done, facts: Facts) -> str:
    if facts.result is None or facts.result.action is not guard.action:
        return "it was not asked for"
    return "accepted" if facts.result.succeeded else "refused"


def _vm(_memory: Memory, facts: Facts) -> str:
    return f"the VM here is {facts.local.engine.vm.value}"


def _vm_and_health(_memory: Memory, facts: Facts) -> str:
    engine = facts.local.engine
    return f"the VM here is {engine.vm.value}, health {engine.health.value}"


def _best_engine(_memory: Memory, facts: Facts) -> str:
    peer = facts.best_engine_peer
    where = f"on {peer.hostname}" if peer else "here"
    return f"the best engine is {where}: {facts.best_engine.vm.value}"


def _best_health(memory: Memory, facts: Facts) -> str:
    return f"{_best_engine(memory, facts)}, health {facts.best_engine.health.value}"


def _scores(memory: Memory, facts: Facts) -> str:
    peer = facts.best_score_peer
    if peer is None:
        return "no live peer has a score"
    return f"{peer.hostname} has {peer.score}, this host {memory.score}"


def _lease(_memory: Memory, facts: Facts) -> str:
    return f"the VM's lease is {facts.local.lease.state.value}"


def _is_off(_memory: Memory, _facts: Facts) -> str:
    return "it is off"


SAYINGS: Mapping[g.Guard, Saying] = {
    g.global_maintenance: _is_off,
    g.local_maintenance: _is_off,
    g.vm_unknown: _vm,
    g.vm_up: _vm,
    g.vm_up_and_healthy: _vm_and_health,
    g.vm_not_up: _vm,
    g.vm_paused: lambda _, facts: f"the hypervisor says {facts.local.engine.detail}",
    g.vm_down: _vm,
    g.vm_down_unexpectedly: _vm,
    g.engine_health_bad: _best_health,
    g.best_engine_not_up: _best_engine,
    g.best_engine_up_here: _best_engine,
    g.best_engine_up_on_a_peer: _best_engine,
    g.best_engine_not_here: _best_engine,
    g.liveness_unknown: lambda _memory, _facts: "it is known who is alive",
    g.lease_held_by_a_live_peer: _lease,
    g.no_peer_scores_higher: _scores,
    g.peer_scores_much_higher: lambda memory, facts: (
        f"{_scores(memory, facts)}; {facts.timing.restart_threshold} more would do"
    ),
    g.timer_not_started: lambda memory, facts: (
        f"it was the turn {facts.now - (memory.timer_started or facts.now)} s ago"
    ),
}
