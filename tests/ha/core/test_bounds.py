"""Which timings are safe: the bounds over a grid, and that each is as low as it can be."""

import math
from dataclasses import fields, replace
from itertools import product

import pytest

from ha.core.bounds import BOUNDS, unsafe
from ha.core.facts import Memory, Monotonic, Observation, Peer
from ha.core.leases import dead_seconds, longest_acquire_seconds, lost_seconds
from ha.core.liveness import look
from ha.core.timing import Timing
from tests.ha.core.worlds import ABSENT, SETTINGS, local

# sanlock's main.h and timeouts.h: how long it asks politely, and then kills.
GRACE_SECONDS, KILL_SECONDS = 40, 10


def test_upstreams_timings_are_safe() -> None:
    assert list(unsafe(Timing())) == []


def test_a_grid_of_timings_each_refused_for_every_bound_it_breaks() -> None:
    settings = {
        "io_timeout_seconds": (0, 1, 10, 36, 37, 60),
        "loop_seconds": (0.5, 1, 10, 30),
        "host_alive_seconds": (2, 15, 60, 120),
        "history_seconds": (60, 900),
        "starting_seconds": (60, 210, 600),
        "bad_health_seconds": (0, 29, 300),
        "away_seconds": (1, 40),
        "blind_seconds": (5, 60),
    }
    refused = 0
    for values in product(*settings.values()):
        timing = replace(Timing(), **dict(zip(settings, values, strict=True)))
        broken = {b.setting for b in BOUNDS if getattr(timing, b.setting) < b.least(timing)}
        found = list(unsafe(timing))
        assert {each.setting for each in found} == broken
        assert all(each.why and each.least > getattr(timing, each.setting) for each in found)
        refused += bool(broken)
    assert 0 < refused < math.prod(map(len, settings.values()))


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.setting)
def test_a_bound_is_met_by_its_own_value_and_by_none_below(bound: object) -> None:
    assert bound in BOUNDS
    timing = Timing()
    least = bound.least(timing)  # type: ignore[attr-defined]
    setting = bound.setting  # type: ignore[attr-defined]
    at, below = (replace(timing, **{setting: value}) for value in (least, least - 0.01))
    assert setting not in {each.setting for each in unsafe(at)}
    assert setting in {each.setting for each in unsafe(below)}


@pytest.mark.parametrize("setting", [field.name for field in fields(Timing)])
def test_no_setting_may_be_endless(setting: str) -> None:
    timing = replace(Timing(), **{setting: math.inf})
    assert setting in {each.setting for each in unsafe(timing)}


@pytest.mark.parametrize("io_timeout_seconds", range(1, 61))
def test_whatever_the_io_timeout_the_old_vm_is_gone_before_the_lease_is_given_away(
    io_timeout_seconds: int,
) -> None:
    gone = lost_seconds(io_timeout_seconds) + GRACE_SECONDS + KILL_SECONDS
    assert gone < dead_seconds(io_timeout_seconds) <= longest_acquire_seconds(io_timeout_seconds)


def test_two_io_timeouts_in_one_cluster_would_allow_two_vms() -> None:
    """Why a host whose io_timeout differs is refused."""
    assert dead_seconds(1) < lost_seconds(10)


@pytest.mark.parametrize("loop_seconds", [1, 2, 10, 30])
def test_a_live_host_never_looks_dead_within_the_bounds(loop_seconds: int) -> None:
    """Its turns last half as long again as they should, and one in two fails to write."""
    timing = replace(Timing(), loop_seconds=loop_seconds, host_alive_seconds=3 * loop_seconds)
    assert not {each.setting for each in unsafe(timing)} & {"loop_seconds", "host_alive_seconds"}
    settings = replace(SETTINGS, timing=timing)
    between = 2 * int(1.5 * loop_seconds)
    for phase in range(between):
        past, first = Memory(), True
        for now in range(0, 20 * loop_seconds, loop_seconds):
            stamp = (now + phase) // between
            seen = Observation(
                Monotonic(now), local(ABSENT), (Peer(2, "h2", stamp, 0, ABSENT),), False
            )
            past, facts = look(past, seen, settings)
            first = first and not facts.alive
            assert first or facts.alive, (phase, now)
        assert not first


def test_history_reaches_back_far_enough_to_tell_who_is_alive() -> None:
    """At the bound, with turns half as long again as they should be; below it never."""
    timing = replace(Timing(), history_seconds=80)
    assert list(unsafe(timing)) == []
    assert known_at_the_end(timing, every=15)
    assert not known_at_the_end(replace(timing, history_seconds=60), every=15)


def known_at_the_end(timing: Timing, *, every: int) -> bool:
    past = Memory()
    for now in range(0, 600, every):
        seen = Observation(Monotonic(now), local(ABSENT), (), False)
        past, facts = look(past, seen, replace(SETTINGS, timing=timing))
    return facts.liveness_known
