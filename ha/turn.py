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
class Answer:
    """One answer of the core: what it was asked with, and what it said.

    With an action the state stays, and the next answer is to how that went.
    """

    memory: Memory
    facts: Facts
    decision: Decision

    @property
    def old(self) -> State:
        """The state that was asked."""
        return self.memory.state

    @property
    def new(self) -> State:
        """The state that follows."""
        return self.decision.memory.state

    @property
    def rule(self) -> str:
        """The name of the rule that held."""
        return self.decision.rule

    @property
    def why(self) -> str:
        """The rule's words, filled in."""
        return self.decision.why

    @property
    def timer_before(self) -> Monotonic | None:
        """When the state's timer was started, before this answer."""
        return self.memory.timer_started

    @property
    def timer_after(self) -> Monotonic | None:
        """The same after it."""
        return self.decision.memory.timer_started


@dataclass(frozen=True, slots=True)
class Turn:
    """All that came of one turn."""

    memory: Memory
    facts: Facts
    answers: tuple[Answer, ...]
    penalties: tuple[Penalty, ...]

    @property
    def transitions(self) -> tuple[Answer, ...]:
        """The answers that were no requests."""
        return tuple(answer for answer in self.answers if not answer.decision.actions)

    @property
    def actions(self) -> tuple[Action, ...]:
        """The requests, in order."""
        return tuple(action for answer in self.answers for action in answer.decision.actions)

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
    answers: list[Answer] = []
    for _question in range(_MOST_QUESTIONS):
        decision = decide(memory, facts)
        answers.append(Answer(memory, facts, decision))
        if decision.actions:
            (action,) = decision.actions
            facts = replace(facts, result=Result(action, perform(action)))
            continue
        memory, facts = decision.memory, replace(facts, result=None)
        if decision.waits:
            break
    else:
        raise AssertionError(f"the state machine does not come to rest: {answers}")
    taken = tuple(penalties(memory, facts.local, settings))
    memory = replace(memory, score=score_of(settings.score.base_score, taken))
    return Turn(memory, facts, tuple(answers), taken)
