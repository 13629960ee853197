"""What counts as an anomaly, by enumeration, and that each is told once until it has cleared."""

import itertools

import pytest

from ha.core.anomalies import (
    OF_THE_LEASE,
    Anomaly,
    AnomalySettings,
    Kind,
    Watch,
    anomalies_of,
    keep_watch,
)
from ha.core.facts import EngineStatus, Facts, Health, Local, Monotonic, Peer, State, Vm
from ha.core.record import Block, Verdict
from ha.core.timing import Timing

SETTINGS = AnomalySettings()
GOOD = EngineStatus(Vm.UP, Health.GOOD, "Up")
DOWN = EngineStatus(Vm.DOWN, Health.BAD, "unknown")
WAITING = EngineStatus(Vm.UP, Health.BAD, "WaitForLaunch")
PAUSED = EngineStatus(Vm.UP, Health.BAD, "Paused")
UNKNOWN = EngineStatus(Vm.UNKNOWN, Health.UNKNOWN, "unknown")
ENGINES = (GOOD, DOWN, WAITING, PAUSED, UNKNOWN, EngineStatus(Vm.DOWN_UNEXPECTED, Health.BAD, "x"))
RUNNING = (GOOD, PAUSED)


def facts(
    *peers: Peer,
    engine: EngineStatus = DOWN,
    known: bool = True,
    maintenance: bool = False,
    hands_off: bool = False,
) -> Facts:
    local = Local(1.0, True, 4096.0, 0.1, engine, True, maintenance)
    return Facts(Monotonic(1000), 1, local, hands_off, peers, known, Timing())


def peer(host_id: int, *, score: int = 3400, engine: EngineStatus | None = DOWN) -> Peer:
    return Peer(host_id, f"h{host_id}", 5, score, engine)


def kinds(
    seen: Facts, *bad: Block, state: State = State.ENGINE_DOWN, score: int = 3400
) -> set[str]:
    return {each.kind.value for each in anomalies_of(seen, bad, state=state, score=score)}


def test_all_is_well() -> None:
    assert kinds(facts(peer(2), peer(3, engine=GOOD))) == set()


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (Verdict.TOO_NEW, "metadata-too-new"),
        (Verdict.MALFORMED, "metadata-garbage"),
        (Verdict.UNREADABLE, "metadata-garbage"),
    ],
)
def test_each_bad_block_is_one_of_its_own(verdict: Verdict, kind: str) -> None:
    bad = [Block(number, verdict, None, f"why {number}") for number in (0, 52)]
    found = anomalies_of(facts(), bad, state=State.ENGINE_DOWN, score=3400)
    assert [(each.kind.value, each.subject) for each in found] == [(kind, "0"), (kind, "52")]
    assert found[1].detail == "block 52: why 52"


def test_no_eligible_host_by_enumeration() -> None:
    scores, flags = (0, 1, 3400), (False, True)
    for own, maintenance, known in itertools.product(scores, flags, flags):
        for others in itertools.chain([()], itertools.product(scores, repeat=2)):
            seen = facts(
                *(peer(n, score=score) for n, score in enumerate(others, 2)),
                known=known,
                maintenance=maintenance,
            )
            nobody = known and (own == 0 or maintenance) and not any(others)
            assert ("no-eligible-host" in kinds(seen, score=own)) is nobody


def test_two_vms_by_enumeration() -> None:
    for own, second, third in itertools.product(ENGINES, repeat=3):
        for known in (False, True):
            seen = facts(peer(2, engine=second), peer(3, engine=third), engine=own, known=known)
            claims = sum(engine in RUNNING for engine in (own, second, third))
            assert ("two-vms" in kinds(seen)) is (known and claims > 1), (own, second, third)


def test_two_vms_says_where() -> None:
    seen = facts(peer(3, engine=GOOD), peer(2), engine=GOOD)
    (found,) = anomalies_of(seen, (), state=State.ENGINE_UP, score=3400)
    assert found.detail == "live hosts with ids 1, 3 each say that the engine VM runs there"


@pytest.mark.parametrize("state", list(State))
def test_an_engine_that_went_down_unexpectedly(state: State) -> None:
    expected = state is State.ENGINE_UNEXPECTEDLY_DOWN
    assert ("engine-unexpectedly-down" in kinds(facts(), state=state)) is expected


def test_global_maintenance_is_watched() -> None:
    assert kinds(facts(hands_off=True)) == {"forgotten-maintenance"}


LASTS = {
    Kind.METADATA_TOO_NEW: 0,
    Kind.METADATA_GARBAGE: 0,
    Kind.LOCKSPACE_UNUSABLE: 0,
    Kind.NO_ELIGIBLE_HOST: 120,
    Kind.DUPLICATE_HOST_ID: 0,
    Kind.FORGOTTEN_MAINTENANCE: 14400,
    Kind.ENGINE_UNEXPECTEDLY_DOWN: 0,
    Kind.TWO_VMS: 75,
}


@pytest.mark.parametrize("kind", list(Kind))
def test_each_is_told_once_when_it_has_lasted_and_again_after_it_cleared(kind: Kind) -> None:
    anomaly, watch, told = Anomaly(kind, "x", "why"), Watch(), []

    def turn(now: int, *seen: Anomaly) -> None:
        nonlocal watch
        watch, due = keep_watch(watch, Monotonic(now), seen, SETTINGS)
        told.extend((now, each.anomaly.kind, each.since) for each in due)

    lasts = LASTS[kind]
    for now in (0, lasts - 1, lasts, lasts + 10, lasts + 20000):
        if now >= 0:
            turn(now, anomaly)
    assert told == [(lasts, kind, 0)]
    turn(40000)
    turn(40010, anomaly)
    turn(40010 + lasts, anomaly)
    assert told[1:] == [(40010 + lasts, kind, 40010)]


def test_what_cleared_too_early_is_not_told() -> None:
    watch = Watch()
    anomaly = Anomaly(Kind.TWO_VMS, "", "why")
    for now, seen in ((0, [anomaly]), (70, []), (80, [anomaly]), (150, [anomaly])):
        watch, due = keep_watch(watch, Monotonic(now), seen, SETTINGS)
        assert due == ()
    assert keep_watch(watch, Monotonic(155), [anomaly], SETTINGS)[1][0].since == 80


def test_two_of_a_kind_are_told_apart() -> None:
    first, second = (Anomaly(Kind.METADATA_GARBAGE, n, n) for n in ("7", "8"))
    watch, due = keep_watch(Watch(), Monotonic(0), [first], SETTINGS)
    assert [each.anomaly for each in due] == [first]
    watch, due = keep_watch(watch, Monotonic(1), [first, second], SETTINGS)
    assert [each.anomaly for each in due] == [second]


@pytest.mark.parametrize("kind", list(Kind))
def test_who_did_not_look_does_not_clear_it(kind: Kind) -> None:
    anomaly = Anomaly(kind, "", "why")
    watch, _ = keep_watch(Watch(), Monotonic(0), [anomaly], SETTINGS)
    watch, _ = keep_watch(watch, Monotonic(20000), [anomaly], SETTINGS)
    watch, _ = keep_watch(watch, Monotonic(20010), [], SETTINGS, judged=OF_THE_LEASE)
    _, due = keep_watch(watch, Monotonic(40020), [anomaly], SETTINGS)
    assert bool(due) is (kind in OF_THE_LEASE and LASTS[kind] == 0)
