"""Every rule of the table can say why it did not hold."""

import pytest

from ha.core.actions import Action, Result
from ha.core.decide import decide
from ha.core.facts import Memory, Monotonic, State
from ha.core.guards import Done, TimerOver, name_of, otherwise
from ha.core.states import RULES, Rule
from ha.explain import SAYINGS, passed_over, why_not
from ha.turn import Answer
from tests.ha.core.worlds import BAD, GOOD, NOW, facts

EVERY_RULE = [(state, rule) for state, rules in RULES.items() for rule in rules]


@pytest.mark.parametrize(
    ("state", "rule"), EVERY_RULE, ids=[f"{state}/{rule.name}" for state, rule in EVERY_RULE]
)
def test_every_guard_has_its_saying(state: State, rule: Rule) -> None:
    """A new guard needs one in `ha.explain`."""
    if rule.when is otherwise:
        return
    assert isinstance(rule.when, TimerOver | Done) or rule.when in SAYINGS, name_of(rule.when)
    said = why_not(rule.when, Memory(state=state), facts(GOOD, ((BAD, 3000),)))
    assert said
    assert said != "it is not so"


def test_a_limit_says_how_far_it_is() -> None:
    limit = TimerOver("starting_seconds")
    begun = Memory(state=State.ENGINE_STARTING, timer_started=Monotonic(NOW - 30))
    assert why_not(limit, begun, facts()) == "30 of 600 s"
    assert why_not(limit, Memory(), facts()) == "600 s, which begin with the second turn here"


def test_a_request_says_how_it_went() -> None:
    done = Done(Action.START_VM, True)
    assert why_not(done, Memory(), facts()) == "it was not asked for"
    refused = facts(result=Result(Action.START_VM, False))
    assert why_not(done, Memory(), refused) == "refused"


def test_only_what_was_asked_before_is_passed_over() -> None:
    memory, seen = Memory(state=State.ENGINE_DOWN), facts(GOOD)
    answer = Answer(memory, seen, decide(memory, seen))
    assert answer.rule == "EngineDown/best-engine-up-here"
    assert [name for name, _ in passed_over(answer)] == [
        "global-maintenance",
        "vm-unknown",
        "local-maintenance",
    ]
