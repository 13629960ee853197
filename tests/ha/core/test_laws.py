"""Laws of the state machine, over the whole finite domain: enumerated, not sampled."""

from dataclasses import replace

import pytest

from ha.core import guards
from ha.core.actions import Action
from ha.core.decide import decide
from ha.core.facts import EngineStatus, State, Vm
from ha.core.guards import Done, TimerOver
from ha.core.score import ZERO
from ha.core.states import RULES, limit_of
from ha.core.vm_lease import FREE_LEASE, UNKNOWN_LEASE
from ha.turn import Turn, take_turn
from tests.ha.core.worlds import (
    HELD_HERE,
    HERE,
    RESULTS,
    SETTINGS,
    every_case,
    every_turn,
)

Alive = tuple[tuple[EngineStatus, int], ...]
S = State


@pytest.mark.parametrize("state", State)
def test_every_state_ends_with_a_rule_that_always_holds(state: State) -> None:
    assert RULES[state][-1].when is guards.otherwise


@pytest.mark.parametrize("state", State)
def test_a_limit_is_the_first_rule_of_its_state(state: State) -> None:
    assert not any(isinstance(rule.when, TimerOver) for rule in RULES[state][1:])


def test_a_request_stays_in_its_state_and_both_results_have_a_rule_before_it() -> None:
    for state, rules in RULES.items():
        for index, rule in enumerate(rules):
            if rule.do is not None:
                assert rule.goto is state
                before = [other.when for other in rules[:index]]
                assert Done(rule.do, True) in before
                assert Done(rule.do, False) in before


def test_every_state_but_the_first_and_the_last_can_be_reached() -> None:
    reached = {rule.goto for state, rules in RULES.items() for rule in rules if rule.goto != state}
    assert set(State) - reached == {S.START, S.AGENT_STOPPED}


def test_maintenance_never_acts_on_the_vm() -> None:
    for past, seen in every_case():
        if seen.global_maintenance:
            assert decide(past, seen).actions == (), (past, seen)
        if seen.local.maintenance and past.state not in (S.ENGINE_UP, S.ENGINE_UP_BAD_HEALTH):
            assert decide(past, seen).actions == (), (past, seen)


def test_a_turn_in_maintenance_never_acts_on_the_vm() -> None:
    for past, seen in every_turn():
        if seen.global_maintenance or seen.local.maintenance:
            turn = take_turn(past, seen, SETTINGS, lambda _action: True)
            assert turn.actions == (), (past, seen)


def test_nothing_is_done_while_the_vms_state_is_unknown() -> None:
    for past, seen in every_turn():
        if seen.local.engine.vm is Vm.UNKNOWN:
            assert take_turn(past, seen, SETTINGS, lambda _action: True).actions == ()


@pytest.mark.parametrize("succeeds", [True, False])
def test_every_turn_comes_to_rest_with_a_score_and_a_reason(succeeds: bool) -> None:
    for past, seen in every_turn():
        turn = take_turn(past, seen, SETTINGS, lambda _action: succeeds)
        assert turn.transitions
        assert all(step.why and "{" not in step.why for step in turn.transitions)
        assert len(turn.actions) <= 1, (past, seen)
        assert turn.memory.score >= 0
        if turn.memory.state in ZERO:
            assert turn.memory.score == 0


def test_a_start_needs_known_peers_no_engine_and_the_best_score() -> None:
    for past, seen in every_turn():
        if past.state is S.ENGINE_START:
            continue  # decided in an earlier turn; never left over in practice
        turn = take_turn(past, seen, SETTINGS, lambda _action: True)
        if Action.START_VM in turn.actions:
            assert past.state is S.ENGINE_DOWN
            assert turn.facts.liveness_known
            assert turn.facts.best_engine.vm is not Vm.UP
            assert all(peer.score <= past.score for peer in turn.facts.alive)


def test_no_start_is_made_that_must_fail_as_a_live_peer_holds_the_lease() -> None:
    held = 0
    for past, seen in every_turn():
        if past.state is S.ENGINE_START or not seen.local.lease.kept_from(HERE):
            continue
        turn = take_turn(past, seen, SETTINGS, lambda _action: True)
        assert Action.START_VM not in turn.actions, (past, seen)
        held += 1
    assert held


def test_a_lease_of_which_nothing_is_known_has_no_part_in_a_decision() -> None:
    """So recordings of before decide as they did; a free one and our own are as good as none.

    But for a VM that is here with its lease: then no peer has it, whatever its record says.
    """
    for past, seen in every_turn((FREE_LEASE, HELD_HERE)):
        if seen.local.lease == HELD_HERE and seen.local.engine.vm is Vm.UP:
            continue
        plain = replace(seen, local=replace(seen.local, lease=UNKNOWN_LEASE))
        with_it = take_turn(past, seen, SETTINGS, lambda _action: True)
        without = take_turn(past, plain, SETTINGS, lambda _action: True)
        assert decided(with_it) == decided(without), (past, seen)


def decided(turn: Turn) -> tuple[object, ...]:
    return turn.memory, turn.states, turn.actions, tuple(each.why for each in turn.answers)


def test_the_vm_is_only_shut_down_where_it_is_up() -> None:
    for past, seen in every_turn():
        turn = take_turn(past, seen, SETTINGS, lambda _action: True)
        if Action.SHUTDOWN_VM in turn.actions:
            assert past.state is S.ENGINE_STOP
            assert seen.local.engine.vm is Vm.UP


def test_a_timer_runs_only_in_a_state_that_has_a_limit() -> None:
    for past, seen in every_case():
        limited = limit_of(past.state) is not None
        after = decide(replace(past, timer_started=past.timer_started if limited else None), seen)
        if after.memory.timer_started is not None:
            assert limit_of(after.memory.state) is not None, (past, seen)


def test_a_result_matters_only_to_the_state_that_asked() -> None:
    asking = {state for state, rules in RULES.items() if any(rule.do for rule in rules)}
    assert asking == {S.ENGINE_START, S.ENGINE_STOP, S.ENGINE_FORCE_STOP}
    for past, seen in every_case():
        if past.state not in asking and past.timer_started is None:
            plain = decide(past, seen)
            for result in RESULTS[1:]:
                other = decide(past, replace(seen, result=result))
                assert (other.memory.state, other.actions) == (plain.memory.state, plain.actions)
