"""Timelines of the reference implementation: a loop of ten seconds, times since the start."""

from collections.abc import Callable
from dataclasses import replace

from ha.core.actions import Action
from ha.core.facts import EngineStatus, Memory, Monotonic, Observation, Peer
from ha.turn import take_turn
from tests.ha.core.worlds import ABSENT, BAD, GOOD, KILLED, MISSING, SETTINGS, UNKNOWN, local

World = Callable[[int], dict[str, object]]
Trace = list[tuple[int, str, int]]


def trace(world: World, *, until: int = 1000, start_succeeds: bool = True) -> Trace:
    """Changes of the published state, with time and score."""
    past, changes = Memory(), []
    for now in range(0, until, 10):
        seen = world(now)
        engine = seen.get("engine", ABSENT)
        peers = seen.get("peers", ())
        assert isinstance(engine, EngineStatus)
        assert isinstance(peers, tuple)
        here = local(engine, maintenance=bool(seen.get("maintenance")), cpu=None)
        observed = Observation(Monotonic(now), here, peers, bool(seen.get("everywhere")))

        def perform(action: Action) -> bool:
            return start_succeeds if action is Action.START_VM else True

        turn = take_turn(past, observed, SETTINGS, perform)
        if turn.memory.state is not past.state or turn.memory.score != past.score:
            changes.append((now, turn.memory.state.value, turn.memory.score))
        past = turn.memory
    return changes


def peer(now: int, engine: EngineStatus = ABSENT, score: int = 3400) -> Peer:
    return Peer(2, "h2", now, score, engine)


def between(low: int, high: int, inside: EngineStatus, outside: EngineStatus) -> World:
    return lambda now: {"engine": inside if low <= now < high else outside}


def test_failed_starts_add_up_and_are_forgotten_ten_minutes_after_the_last() -> None:
    found = trace(lambda _now: {}, until=1200, start_succeeds=False)
    assert found[:3] == [
        (0, "ReinitializeFSM", 0),
        (10, "EngineDown", 3400),
        (70, "EngineDown", 3350),
    ]
    scores = dict((now, score) for now, _state, score in found)
    assert [scores[now] for now in (70, 80, 90, 100)] == [3350, 3300, 3250, 0]
    # With score 0 and nobody else the host goes on trying, so the count is never forgotten.
    assert found[-1][0] == 100


def test_failed_starts_are_forgotten_when_a_peer_took_over() -> None:
    def world(now: int) -> dict[str, object]:
        return {"peers": (peer(now, GOOD if now > 90 else ABSENT, 3400 if now > 60 else 0),)}

    found = trace(world, until=1200, start_succeeds=False)
    assert [change for change in found if change[0] >= 70] == [
        (70, "EngineDown", 3350),
        (670, "EngineDown", 3400),
    ]


def test_alone_start_succeeds() -> None:
    found = trace(lambda now: {"engine": ABSENT if now <= 70 else BAD if now < 150 else GOOD})
    assert found == [
        (0, "ReinitializeFSM", 0),
        (10, "EngineDown", 3400),
        (70, "EngineStarting", 3400),
        (150, "EngineUp", 3400),
    ]


def test_up_at_the_start() -> None:
    found = trace(lambda _now: {"engine": GOOD}, until=50)
    assert found == [(0, "ReinitializeFSM", 0), (10, "EngineUp", 3400)]


def test_bad_health_lasts_five_minutes_and_two_turns() -> None:
    found = trace(lambda now: {"engine": GOOD if now < 100 else BAD})
    assert found[2:] == [
        (100, "EngineUpBadHealth", 3400),
        (420, "EngineStop", 3400),
        (740, "EngineForceStop", 3400),
        (750, "EngineDown", 3400),
        (760, "EngineStarting", 3400),
    ]


def test_a_kill_costs_the_score_for_ten_minutes() -> None:
    found = trace(lambda now: {"engine": GOOD if now < 100 else KILLED}, until=690)
    assert found[2:] == [(100, "EngineUnexpectedlyDown", 0), (680, "EngineDown", 3400)]


def test_local_maintenance_waits_for_the_vm_to_leave() -> None:
    found = trace(lambda now: {"engine": GOOD if now < 200 else ABSENT, "maintenance": now >= 100})
    assert found[2:] == [(200, "EngineMaybeAway", 3400), (210, "LocalMaintenance", 0)]


def test_both_maintenances() -> None:
    found = trace(lambda now: {"everywhere": now < 50, "maintenance": now < 100}, until=120)
    assert found == [
        (0, "ReinitializeFSM", 0),
        (10, "GlobalMaintenance", 3400),
        (50, "LocalMaintenance", 0),
        (100, "ReinitializeFSM", 0),
        (110, "EngineDown", 3400),
    ]


def test_unknown_vm() -> None:
    found = trace(between(100, 150, UNKNOWN, GOOD), until=200)
    assert found[2:] == [(100, "UnknownLocalVmState", 3400), (150, "EngineUp", 3400)]


def test_a_vm_that_never_reappears() -> None:
    found = trace(lambda now: {"engine": GOOD if now < 100 else MISSING}, until=800)
    assert found[2:4] == [(100, "EngineMaybeAway", 3400), (150, "EngineUnexpectedlyDown", 0)]
    assert found[4] == (720, "EngineDown", 3400)


def test_the_network_lost_moves_the_engine_with_one_turn_of_lag() -> None:
    past, states = Memory(), []
    for now in range(0, 150, 10):
        here = local(GOOD if now < 130 else ABSENT, cpu=None)
        if now >= 100:
            here = replace(here, network=0.0)
        seen = Observation(Monotonic(now), here, (peer(now),), False)
        turn = take_turn(past, seen, SETTINGS, lambda _action: True)
        past = turn.memory
        states.append((now, past.state.value, past.score))
    assert states[-5:] == [
        (100, "EngineUp", 1800),
        (110, "EngineStop", 1800),
        (120, "EngineStop", 1800),
        (130, "EngineDown", 1800),
        (140, "EngineDown", 1800),
    ]


def test_nobody_starts_before_it_can_be_known_who_is_alive() -> None:
    found = trace(lambda now: {"peers": (peer(now, GOOD),)}, until=200)
    assert found == [(0, "ReinitializeFSM", 0), (10, "EngineDown", 3400)]


def test_a_stale_record_does_not_keep_the_engine_down() -> None:
    found = trace(lambda _now: {"peers": (peer(5, GOOD),)}, until=100)
    assert found[2][:2] == (70, "EngineStarting")
