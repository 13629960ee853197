"""The names of the rules: one for each, short, and the same tomorrow."""

import re

import pytest

from ha.core.decide import decide
from ha.core.facts import Memory, State
from ha.core.guards import name_of, vm_up_and_healthy
from ha.core.states import RULES
from tests.ha.core.worlds import facts

NAME = re.compile(r"[a-z]+(-[a-z]+)*")


@pytest.mark.parametrize("state", list(State))
def test_each_rule_of_a_state_has_a_name_of_its_own(state: State) -> None:
    names = [rule.name for rule in RULES[state]]
    assert len(set(names)) == len(names)
    assert all(NAME.fullmatch(name) and len(name) <= 32 for name in names), names


def test_names_that_people_search_for() -> None:
    names = {f"{state.value}/{rule.name}" for state, rules in RULES.items() for rule in rules}
    assert {
        "EngineDown/no-peer-scores-higher",
        "EngineStart/request-start-vm",
        "EngineStart/start-vm-accepted",
        "EngineStart/start-vm-refused",
        "EngineStarting/starting-limit",
        "EngineUp/peer-scores-much-higher",
        "EngineUpBadHealth/bad-health-limit",
        "EngineStop/request-shutdown-vm",
        "GlobalMaintenance/global-maintenance",
    } <= names
    assert name_of(vm_up_and_healthy) == "vm-up-and-healthy"


def test_a_decision_names_its_rule() -> None:
    decision = decide(Memory(state=State.GLOBAL_MAINTENANCE), facts())
    assert decision.rule == "GlobalMaintenance/otherwise"
