from dataclasses import replace
from itertools import product

import pytest

from ha.core import guards
from ha.core.actions import Action, Result
from ha.core.decide import decide
from ha.core.facts import EngineStatus, Health, Monotonic, State, Vm
from ha.core.guards import Done, TimerOver
from ha.core.score import ZERO
from ha.core.states import RULES, limit_of
from ha.turn import take_turn
from tests.ha.core.worlds import (
    ABSENT,
    BAD,
    GOOD,
    HALTED,
    KILLED,
    MISSING,
    NOW,
    RESULTS,
    SETTINGS,
    TIMING,
    UNKNOWN,
    every_case,
    every_turn,
    facts,
    memory,
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


# T: its limit is over, G: global maintenance, U: the VM is unknown, L: local maintenance.
GUARDS = {
    S.REINITIALIZE_FSM: "GUL",
    S.GLOBAL_MAINTENANCE: "GL",
    S.LOCAL_MAINTENANCE: "L",
    S.UNKNOWN_LOCAL_VM_STATE: "GUL",
    S.ENGINE_DOWN: "GUL",
    S.ENGINE_START: "GUL",
    S.ENGINE_STARTING: "TGUL",
    S.ENGINE_UP: "GU",
    S.ENGINE_UP_BAD_HEALTH: "TGU",
    S.ENGINE_STOP: "TGLU",
    S.ENGINE_FORCE_STOP: "GLU",
    S.ENGINE_MAYBE_AWAY: "TGUL",
    S.ENGINE_UNEXPECTEDLY_DOWN: "TGUL",
}
GUARD_LEADS_TO = {
    "G": S.GLOBAL_MAINTENANCE,
    "U": S.UNKNOWN_LOCAL_VM_STATE,
    "L": S.LOCAL_MAINTENANCE,
}


@pytest.mark.parametrize("state", GUARDS)
@pytest.mark.parametrize("engine", [GOOD, ABSENT, KILLED])
def test_the_guards_of_each_state_in_their_order(state: State, engine: EngineStatus) -> None:
    for over, everywhere, unknown, here in product((False, True), repeat=4):
        holds = {"T": over, "G": everywhere, "U": unknown, "L": here}
        first = next((guard for guard in GUARDS[state] if holds[guard]), None)
        past = memory(state, Monotonic(int(NOW - 1000)) if over else None)
        seen = facts(UNKNOWN if unknown else engine, everywhere=everywhere, maintenance=here)
        decision = decide(past, seen)
        if first == "T":
            assert decision.why.startswith("Timeout on")
        elif first is not None:
            assert decision.memory.state is GUARD_LEADS_TO[first], (state, holds)
            assert decision.waits
        else:
            assert decision.memory.state not in GUARD_LEADS_TO.values()


@pytest.mark.parametrize(
    ("state", "engine", "alive", "goes_to", "waits"),
    [
        (S.START, ABSENT, (), S.REINITIALIZE_FSM, True),
        (S.REINITIALIZE_FSM, GOOD, (), S.ENGINE_STARTING, False),
        (S.REINITIALIZE_FSM, ABSENT, (), S.ENGINE_DOWN, True),
        (S.GLOBAL_MAINTENANCE, GOOD, (), S.REINITIALIZE_FSM, True),
        (S.LOCAL_MAINTENANCE, ABSENT, (), S.REINITIALIZE_FSM, True),
        (S.UNKNOWN_LOCAL_VM_STATE, UNKNOWN, (), S.UNKNOWN_LOCAL_VM_STATE, True),
        (S.UNKNOWN_LOCAL_VM_STATE, GOOD, (), S.REINITIALIZE_FSM, False),
        (S.ENGINE_DOWN, UNKNOWN, (), S.UNKNOWN_LOCAL_VM_STATE, True),
        (S.ENGINE_DOWN, GOOD, (), S.ENGINE_STARTING, False),
        (S.ENGINE_DOWN, HALTED, (), S.ENGINE_STARTING, False),
        (S.ENGINE_DOWN, BAD, ((GOOD, 3400),), S.ENGINE_DOWN, True),
        (S.ENGINE_DOWN, ABSENT, ((BAD, 0),), S.ENGINE_DOWN, True),
        (S.ENGINE_DOWN, ABSENT, (), S.ENGINE_START, False),
        (S.ENGINE_DOWN, ABSENT, ((ABSENT, 3400),), S.ENGINE_START, False),
        (S.ENGINE_DOWN, ABSENT, ((ABSENT, 3401),), S.ENGINE_DOWN, True),
        (S.ENGINE_DOWN, ABSENT, ((ABSENT, 0),), S.ENGINE_START, False),
        (S.ENGINE_STARTING, GOOD, (), S.ENGINE_UP, True),
        (S.ENGINE_STARTING, BAD, ((GOOD, 3400),), S.ENGINE_STARTING, True),
        (S.ENGINE_STARTING, ABSENT, (), S.ENGINE_FORCE_STOP, False),
        (S.ENGINE_STARTING, KILLED, (), S.ENGINE_MAYBE_AWAY, False),
        (S.ENGINE_STARTING, MISSING, (), S.ENGINE_MAYBE_AWAY, False),
        (S.ENGINE_UP, GOOD, (), S.ENGINE_UP, True),
        (S.ENGINE_UP, GOOD, ((GOOD, 3400),), S.ENGINE_UP, True),
        (S.ENGINE_UP, ABSENT, (), S.ENGINE_MAYBE_AWAY, True),
        (S.ENGINE_UP, KILLED, ((GOOD, 3400),), S.ENGINE_UNEXPECTEDLY_DOWN, True),
        (S.ENGINE_UP, MISSING, (), S.ENGINE_MAYBE_AWAY, False),
        (S.ENGINE_UP, MISSING, ((GOOD, 3400),), S.ENGINE_STOP, True),
        (S.ENGINE_UP, BAD, ((GOOD, 3400),), S.ENGINE_STOP, True),
        (S.ENGINE_UP, BAD, (), S.ENGINE_UP_BAD_HEALTH, True),
        (S.ENGINE_UP, BAD, ((ABSENT, 4199),), S.ENGINE_UP_BAD_HEALTH, True),
        (S.ENGINE_UP, GOOD, ((ABSENT, 4200),), S.ENGINE_STOP, True),
        (S.ENGINE_UP_BAD_HEALTH, GOOD, (), S.ENGINE_UP, True),
        (S.ENGINE_UP_BAD_HEALTH, BAD, (), S.ENGINE_UP_BAD_HEALTH, True),
        (S.ENGINE_STOP, KILLED, (), S.ENGINE_DOWN, True),
        (S.ENGINE_STOP, HALTED, (), S.ENGINE_FORCE_STOP, False),
        (S.ENGINE_MAYBE_AWAY, ABSENT, (), S.ENGINE_DOWN, True),
        (S.ENGINE_MAYBE_AWAY, KILLED, (), S.ENGINE_UNEXPECTEDLY_DOWN, True),
        (S.ENGINE_MAYBE_AWAY, BAD, (), S.ENGINE_UP, True),
        (S.ENGINE_MAYBE_AWAY, MISSING, ((BAD, 0),), S.ENGINE_DOWN, True),
        (S.ENGINE_MAYBE_AWAY, MISSING, (), S.ENGINE_MAYBE_AWAY, True),
        (S.ENGINE_UNEXPECTEDLY_DOWN, BAD, (), S.ENGINE_UP, True),
        (S.ENGINE_UNEXPECTEDLY_DOWN, KILLED, (), S.ENGINE_UNEXPECTEDLY_DOWN, True),
        (S.ENGINE_UNEXPECTEDLY_DOWN, ABSENT, ((GOOD, 3400),), S.ENGINE_UNEXPECTEDLY_DOWN, True),
    ],
)
def test_each_row_of_the_table(
    state: State, engine: EngineStatus, alive: Alive, goes_to: State, waits: bool
) -> None:
    decision = decide(memory(state), facts(engine, alive))
    assert (decision.memory.state, decision.waits, decision.actions) == (goes_to, waits, ())


@pytest.mark.parametrize(
    ("state", "engine", "action", "succeeded", "goes_to"),
    [
        (S.ENGINE_START, ABSENT, Action.START_VM, True, S.ENGINE_STARTING),
        (S.ENGINE_START, ABSENT, Action.START_VM, False, S.ENGINE_DOWN),
        (S.ENGINE_STOP, GOOD, Action.SHUTDOWN_VM, True, S.ENGINE_STOP),
        (S.ENGINE_STOP, GOOD, Action.SHUTDOWN_VM, False, S.REINITIALIZE_FSM),
        (S.ENGINE_FORCE_STOP, GOOD, Action.POWEROFF_VM, True, S.ENGINE_DOWN),
        (S.ENGINE_FORCE_STOP, ABSENT, Action.POWEROFF_VM, False, S.REINITIALIZE_FSM),
    ],
)
def test_requests_and_their_results(
    state: State, engine: EngineStatus, action: Action, succeeded: bool, goes_to: State
) -> None:
    asked = decide(memory(state), facts(engine))
    assert (asked.memory.state, asked.actions, asked.waits) == (state, (action,), False)
    answered = decide(asked.memory, facts(engine, result=Result(action, succeeded)))
    assert (answered.memory.state, answered.actions, answered.waits) == (goes_to, (), True)


@pytest.mark.parametrize(
    ("state", "limit", "goes_to", "waits", "engine"),
    [
        (S.ENGINE_STARTING, TIMING.starting_seconds, S.ENGINE_STOP, True, BAD),
        (S.ENGINE_UP_BAD_HEALTH, TIMING.bad_health_seconds, S.ENGINE_STOP, True, BAD),
        (S.ENGINE_STOP, TIMING.stopping_seconds, S.ENGINE_FORCE_STOP, True, GOOD),
        (S.ENGINE_MAYBE_AWAY, TIMING.away_seconds, S.ENGINE_UNEXPECTEDLY_DOWN, False, MISSING),
        (S.ENGINE_UNEXPECTEDLY_DOWN, TIMING.unexpected_seconds, S.ENGINE_DOWN, True, KILLED),
    ],
)
def test_limits_fire_strictly_after_their_time_and_before_all_else(
    state: State, limit: float, goes_to: State, waits: bool, engine: EngineStatus
) -> None:
    at_limit = decide(memory(state, Monotonic(int(NOW - limit))), facts(engine))
    assert at_limit.memory.state is state
    past = memory(state, Monotonic(int(NOW - limit - 1)))
    over = decide(past, facts(engine, everywhere=True, maintenance=True))
    assert (over.memory.state, over.waits) == (goes_to, waits)
    assert over.memory.timer_started is None
    assert over.why == f"Timeout on transitioning from {state.value}, moving to {goes_to.value}"


def test_a_timer_starts_with_the_second_turn_in_the_state() -> None:
    first = decide(memory(S.ENGINE_UP), facts(BAD, now=100)).memory
    assert (first.state, first.timer_started) == (S.ENGINE_UP_BAD_HEALTH, None)
    second = decide(first, facts(BAD, now=110)).memory
    assert second.timer_started == 110
    assert decide(second, facts(BAD, now=120)).memory.timer_started == 110
    assert decide(second, facts(GOOD, now=120)).memory.timer_started is None


def test_global_maintenance_wins_over_local_but_not_in_local_maintenance() -> None:
    both = facts(ABSENT, everywhere=True, maintenance=True)
    assert decide(memory(S.GLOBAL_MAINTENANCE), both).memory.state is S.GLOBAL_MAINTENANCE
    assert decide(memory(S.LOCAL_MAINTENANCE), both).memory.state is S.LOCAL_MAINTENANCE
    assert decide(memory(S.ENGINE_DOWN), both).memory.state is S.GLOBAL_MAINTENANCE


def test_unknown_health_is_not_bad_health() -> None:
    odd = EngineStatus(Vm.UP, Health.UNKNOWN, "Up")
    assert decide(memory(S.ENGINE_UP), facts(odd)).memory.state is S.ENGINE_UP
    assert decide(memory(S.ENGINE_STARTING), facts(odd)).memory.state is S.ENGINE_STARTING


def test_the_words_name_hosts_and_seconds() -> None:
    up_there = decide(memory(S.ENGINE_DOWN), facts(ABSENT, ((GOOD, 3400),)))
    assert up_there.why == "Engine vm is running on host h2 (id 2)"
    better = decide(memory(S.ENGINE_UP, score=1800), facts(GOOD, ((ABSENT, 3400),)))
    assert better.why.startswith("Host h2 (id 2) score is significantly better")
    started = Monotonic(int(NOW - 30))
    assert decide(memory(S.ENGINE_UP_BAD_HEALTH, started), facts(BAD)).why.endswith("270 seconds")
    assert "(30 of 300 seconds)" in decide(memory(S.ENGINE_STOP, started), facts(GOOD)).why
