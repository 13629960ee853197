from dataclasses import replace

import pytest

from ha.core.facts import Memory, Monotonic, Snapshot, State
from ha.core.score import (
    ZERO,
    CoreSettings,
    Penalty,
    ScoreSettings,
    cpu_load_average,
    penalties,
    score_of,
)
from tests.ha.core.worlds import ABSENT, SETTINGS, local

IDLE = Memory(state=State.ENGINE_DOWN)


def score(memory: Memory = IDLE, settings: CoreSettings = SETTINGS, **changes: object) -> int:
    here = replace(local(ABSENT), **changes)  # type: ignore[arg-type]
    return score_of(settings.score.base_score, tuple(penalties(memory, here, settings)))


def history(*loads: float | None, step: int = 10) -> tuple[Snapshot, ...]:
    return tuple(Snapshot(Monotonic(-step * at), load, {}) for at, load in enumerate(loads))


def test_each_penalty() -> None:
    assert score() == 3400
    assert [score(network=share / 5) for share in range(6)] == [
        1800, 2120, 2440, 2760, 3081, 3400,
    ]  # fmt: skip
    assert score(bridge=False) == 2800
    assert score(memory_free_mib=1023.0) == 3000
    assert score(memory_free_mib=None) == 3000
    assert score(memory_free_mib=1024.0) == 3400
    assert score(settings=replace(SETTINGS, conf_on_shared_storage=False)) == 2400


def test_the_sum_never_falls_below_zero() -> None:
    busy = replace(IDLE, history=history(1.0, 1.0))
    assert score(busy, network=0.0, bridge=False, memory_free_mib=0.0) == 0


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.ENGINE_UP, 3400),
        (State.ENGINE_UP_BAD_HEALTH, 3400),
        (State.GLOBAL_MAINTENANCE, 3400),
        (State.ENGINE_DOWN, 3000),
        (State.ENGINE_STARTING, 3000),
        (State.UNKNOWN_LOCAL_VM_STATE, 3000),
    ],
)
def test_where_memory_counts(state: State, expected: int) -> None:
    assert score(Memory(state=state), memory_free_mib=0.0) == expected


def test_where_the_score_is_zero() -> None:
    assert set(ZERO) == {
        State.START,
        State.REINITIALIZE_FSM,
        State.LOCAL_MAINTENANCE,
        State.ENGINE_UNEXPECTEDLY_DOWN,
        State.AGENT_STOPPED,
    }
    for state in ZERO:
        assert score(Memory(state=state)) == 0


@pytest.mark.parametrize(("retries", "expected"), [(0, 3400), (1, 3350), (3, 3250), (4, 0), (9, 0)])
def test_failed_starts(retries: int, expected: int) -> None:
    assert score(replace(IDLE, retries=retries)) == expected


@pytest.mark.parametrize(
    ("load", "points"), [(0.0, 0), (0.4, 0), (0.65, 500), (0.8, 800), (0.9, 1000), (1.0, 1000)]
)
def test_cpu_load(load: float, points: int) -> None:
    taken = penalties(replace(IDLE, history=history(load, load)), local(ABSENT), SETTINGS)
    found = next(penalty for penalty in taken if penalty.reason == "cpu load")
    assert found.points == pytest.approx(points, abs=1)


def test_equal_bounds_of_cpu_load_do_not_divide_by_zero() -> None:
    settings = replace(
        SETTINGS, score=ScoreSettings(cpu_load_penalty_min=0.5, cpu_load_penalty_max=0.5)
    )
    assert score(replace(IDLE, history=history(0.4, 0.4)), settings) == 3400
    assert score(replace(IDLE, history=history(0.5, 0.5)), settings) == 2400


def test_the_average_is_weighted_by_time_and_broken_by_gaps() -> None:
    assert cpu_load_average(()) == 0.0
    assert cpu_load_average(history(0.7)) == 0.0
    assert cpu_load_average(history(1.0, 0.0)) == pytest.approx(0.5)
    assert cpu_load_average(history(1.0, 1.0, None, 0.2, 0.2)) == pytest.approx(0.6)
    uneven = (
        Snapshot(Monotonic(100), 1.0, {}),
        Snapshot(Monotonic(90), 1.0, {}),
        Snapshot(Monotonic(60), 0.0, {}),
    )
    assert cpu_load_average(uneven) == pytest.approx((10 * 1.0 + 30 * 0.5) / 40)


def test_a_penalty_without_points_takes_all() -> None:
    assert score_of(3400, (Penalty(None, "maintenance", "state"), Penalty(1, "more", "cpu"))) == 0
