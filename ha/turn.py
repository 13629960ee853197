"""One turn of the monitor: the core is asked until it waits."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ha.core.actions import Action, Result
from ha.core.decide import Decision, decide
from ha.core.facts import Facts, Memory, Monotonic, Observation, State
from ha.core.liveness import look
from ha.core.score import CoreSettings, Penalty, penalties, score_of

# The longest chain of transitions that do not wait has three; each may carry one request.
_MOST_QUESTIONS = 8


@dataclass(frozen=True, slots=True)
class Transition:
    """One answer: from which state to which, and why; `timer_started` as it was before."""

    old: State
    new: State
    why: str
    timer_before: Monotonic | None
    timer_after: Monotonic | None


@dataclass(frozen=True, slots=True)
class Turn:
    """All that came of one turn."""

    memory: Memory
    facts: Facts
    transitions: tuple[Transition, ...]
    actions: tuple[Action, ...]
    penalties: tuple[Penalty, ...]

    @property
    def states(self) -> tuple[State, ...]:
        """The states entered, in order, the same one again when it was stayed in."""
        return tuple(transition.new for transition in self.transitions)


def take_turn(
    memory: Memory,
    seen: Observation,
    settings: CoreSettings,
    perform: Callable[[Action], bool],
) -> Turn:
    """Ask the core until it waits; `perform` carries out a request and tells if it succeeded."""
    memory, facts = look(memory, seen, settings)
    transitions: list[Transition] = []
    actions: list[Action] = []
    for _question in range(_MOST_QUESTIONS):
        decision = decide(memory, facts)
        if decision.actions:
            actions.extend(decision.actions)
            (action,) = decision.actions
            facts = replace(facts, result=Result(action, perform(action)))
            continue
        transitions.append(_transition(memory, decision))
        memory, facts = decision.memory, replace(facts, result=None)
        if decision.waits:
            break
    else:
        raise AssertionError(f"the state machine does not come to rest: {transitions}")
    taken = tuple(penalties(memory, facts.local, settings))
    memory = replace(memory, score=score_of(settings.score.base_score, taken))
    return Turn(memory, facts, tuple(transitions), tuple(actions), taken)


def _transition(memory: Memory, decision: Decision) -> Transition:
    after = decision.memory
    return Transition(
        memory.state, after.state, decision.why, memory.timer_started, after.timer_started
    )
