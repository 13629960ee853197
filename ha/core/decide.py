"""One question to the table: which rule holds, and what follows from it."""

from dataclasses import dataclass, replace

from ha.core.actions import Action
from ha.core.facts import Facts, Memory, State
from ha.core.states import RULES, Rule, limit_of


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows; with `actions` the same state must be asked again with the result.

    `waits` tells whether the turn ends with this decision.
    """

    memory: Memory
    actions: tuple[Action, ...]
    why: str
    rule: str
    """The name of the rule that holds, after its state's: EngineDown/no-peer-scores-higher."""
    waits: bool


def decide(memory: Memory, facts: Facts) -> Decision:
    """Return the first rule that holds, applied. The table always has one."""
    rule = next(rule for rule in RULES[memory.state] if rule.when(memory, facts))
    why = _say(rule, memory, facts)
    name = f"{memory.state.value}/{rule.name}"
    if rule.do is not None:
        return Decision(memory, (rule.do,), why, name, waits=False)
    memory = _count_start(_enter(memory, rule.goto, facts), facts)
    return Decision(memory, (), why, name, rule.waits)


def _enter(memory: Memory, goto: State, facts: Facts) -> Memory:
    """Move on, or stay and start the state's timer if it has one."""
    if goto is not memory.state:
        return replace(memory, state=goto, timer_started=None)
    if memory.timer_started is None and limit_of(goto) is not None:
        return replace(memory, timer_started=facts.now)
    return memory


def _count_start(memory: Memory, facts: Facts) -> Memory:
    if facts.result is None or facts.result.action is not Action.START_VM:
        return memory
    retries = 0 if facts.result.succeeded else memory.retries + 1
    return replace(memory, retries=retries, last_start=facts.now)


def _say(rule: Rule, memory: Memory, facts: Facts) -> str:
    """Fill in the rule's words."""
    engine, best, timing = facts.best_engine_peer, facts.best_score_peer, facts.timing
    started = facts.now if memory.timer_started is None else memory.timer_started
    elapsed = facts.now - started
    in_bad_health = elapsed if memory.state is State.ENGINE_UP_BAD_HEALTH else 0
    return rule.why.format(
        state=memory.state,
        goto=rule.goto,
        score=memory.score,
        engine_host=engine.hostname if engine else "",
        engine_host_id=engine.host_id if engine else facts.host_id,
        lease_host=facts.lease_host or "of unknown name",
        lease_host_id=facts.local.lease.owner,
        best_host=best.hostname if best else "",
        best_host_id=best.host_id if best else facts.host_id,
        bad_health_left=f"{timing.bad_health_seconds - in_bad_health:.0f}",
        stopping_elapsed=elapsed,
        stopping_limit=f"{timing.stopping_seconds:.0f}",
    )
