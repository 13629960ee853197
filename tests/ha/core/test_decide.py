from dataclasses import replace
from itertools import product

import pytest

from ha.core.actions import Action, Result
from ha.core.decide import decide
from ha.core.facts import EngineStatus, Health, Monotonic, State, Vm
from ha.core.vm_lease import FREE_LEASE, UNKNOWN_LEASE, LeaseState, VmLease
from tests.ha.core.worlds import (
    ABSENT,
    BAD,
    DEAD_THERE,
    FAILING_THERE,
    GOOD,
    HALTED,
    HELD_HERE,
    HELD_THERE,
    KILLED,
    MISSING,
    NOW,
    THERE,
    TIMING,
    UNKNOWN,
    facts,
    memory,
)

Alive = tuple[tuple[EngineStatus, int], ...]
S = State


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


@pytest.mark.parametrize(
    ("lease", "goes_to"),
    [
        (UNKNOWN_LEASE, S.ENGINE_START),
        (FREE_LEASE, S.ENGINE_START),
        (HELD_HERE, S.ENGINE_START),
        (HELD_THERE, S.ENGINE_DOWN),
        (FAILING_THERE, S.ENGINE_START),
        (DEAD_THERE, S.ENGINE_START),
        (VmLease(LeaseState.UNKNOWN, THERE), S.ENGINE_START),
    ],
)
def test_the_vms_lease_decides_whether_a_start_is_worth_it(lease: VmLease, goes_to: S) -> None:
    assert decide(memory(S.ENGINE_DOWN), facts(ABSENT, lease=lease)).memory.state is goes_to


@pytest.mark.parametrize("name", ["h2", ""])
def test_who_holds_the_lease_is_named(name: str) -> None:
    seen = replace(facts(ABSENT, lease=HELD_THERE), lease_host=name)
    decision = decide(memory(S.ENGINE_DOWN), seen)
    assert f"held by host {name or 'of unknown name'} (id 2), which is alive" in decision.why
    assert decision.rule == "EngineDown/lease-held-by-a-live-peer"


@pytest.mark.parametrize(
    ("lease", "goes_to"),
    [
        (UNKNOWN_LEASE, S.ENGINE_STOP),
        (HELD_THERE, S.ENGINE_STOP),
        (HELD_HERE, S.ENGINE_UP_BAD_HEALTH),
    ],
)
def test_an_old_word_of_a_peer_stops_no_vm_whose_lease_is_here(lease: VmLease, goes_to: S) -> None:
    """It had the VM until it was migrated, and has said nothing since; one look at health fails."""
    seen = facts(BAD, ((GOOD, 0),), lease=lease)
    assert decide(memory(S.ENGINE_UP), seen).memory.state is goes_to
