"""The finite domain of the core, enumerated, and short names for its values."""

from collections.abc import Iterator
from itertools import product

from ha.core.actions import Action, Result
from ha.core.facts import (
    PAUSED,
    EngineStatus,
    Facts,
    Health,
    Local,
    Memory,
    Monotonic,
    Observation,
    Peer,
    Snapshot,
    State,
    Vm,
)
from ha.core.score import CoreSettings
from ha.core.states import limit_of
from ha.core.timing import Timing
from ha.core.vm_lease import FREE_LEASE, UNKNOWN_LEASE, LeaseState, VmLease

NOW = Monotonic(10_000)
HERE, THERE = 1, 2
SETTINGS = CoreSettings(host_id=HERE, vm_memory_mib=1024)
TIMING = Timing()

GOOD = EngineStatus(Vm.UP, Health.GOOD, "Up")
BAD = EngineStatus(Vm.UP, Health.BAD, "Up", "failed liveliness check")
HALTED = EngineStatus(Vm.UP, Health.BAD, PAUSED, "bad vm status")
ABSENT = EngineStatus(Vm.DOWN, Health.BAD, "unknown", "vm not running on this host")
KILLED = EngineStatus(Vm.DOWN_UNEXPECTED, Health.BAD, "Down", "bad vm status")
MISSING = EngineStatus(Vm.DOWN_MISSING, Health.BAD, "unknown", "vm not running on this host")
UNKNOWN = EngineStatus(Vm.UNKNOWN, Health.UNKNOWN, "unknown", "failed to getVmStats")
ENGINES = (GOOD, BAD, HALTED, ABSENT, KILLED, MISSING, UNKNOWN)

HELD_HERE = VmLease(LeaseState.LIVE, HERE)
HELD_THERE = VmLease(LeaseState.LIVE, THERE)
FAILING_THERE = VmLease(LeaseState.FAIL, THERE)
DEAD_THERE = VmLease(LeaseState.DEAD, THERE)
# One of each kind: no part in a decision, must fail, its holder is not alive (dead is as failing).
KINDS_OF_LEASES = (UNKNOWN_LEASE, HELD_THERE, FAILING_THERE)
LEASES = (*KINDS_OF_LEASES, FREE_LEASE, HELD_HERE, DEAD_THERE)

PEERS = ((), *((peer,) for peer in product(ENGINES, (0, 3000, 3400, 3800))))
TIMERS = (None, NOW, Monotonic(int(NOW - 10_000)))
RESULTS = (None, *(Result(action, ok) for action in Action for ok in (True, False)))


def local(
    engine: EngineStatus,
    *,
    maintenance: bool = False,
    cpu: float | None = 0.0,
    lease: VmLease = UNKNOWN_LEASE,
) -> Local:
    return Local(1.0, True, 8192.0, cpu, engine, True, maintenance, lease)


def facts(  # noqa: PLR0913
    engine: EngineStatus = ABSENT,
    alive: tuple[tuple[EngineStatus, int], ...] = (),
    *,
    known: bool = True,
    maintenance: bool = False,
    everywhere: bool = False,
    now: int = NOW,
    result: Result | None = None,
    lease: VmLease = UNKNOWN_LEASE,
) -> Facts:
    peers = tuple(
        Peer(THERE + index, f"h{THERE + index}", 5, score, status)
        for index, (status, score) in enumerate(alive)
    )
    return Facts(
        Monotonic(now), HERE, local(engine, maintenance=maintenance, lease=lease), everywhere,
        peers, known, TIMING, result,
    )  # fmt: skip


def memory(state: State, timer: Monotonic | None = None, score: int = 3400) -> Memory:
    return Memory(state=state, timer_started=timer, score=score)


def every_case(
    leases: tuple[VmLease, ...] = KINDS_OF_LEASES,
) -> Iterator[tuple[Memory, Facts]]:
    """Every state with all that may be seen in it."""
    for state, engine, alive, known, here, everywhere in product(
        State, ENGINES, PEERS, (True, False), (True, False), (True, False)
    ):
        if alive and not known:
            continue  # nobody is known to be alive before that can be known
        timers = TIMERS if limit_of(state) else (None,)
        for timer, lease in product(timers, leases):
            yield (
                memory(state, timer),
                facts(
                    engine, alive, known=known, maintenance=here, everywhere=everywhere, lease=lease
                ),
            )


def every_turn(
    leases: tuple[VmLease, ...] = KINDS_OF_LEASES,
) -> Iterator[tuple[Memory, Observation]]:
    """Every state with all that may be observed at the beginning of a turn."""
    for past, seen in every_case(leases):
        at = 61 if seen.liveness_known else 60
        stamps = {peer.host_id: peer.timestamp - 1 for peer in seen.alive}
        snapshot = Snapshot(Monotonic(int(NOW - at)), 0.0, stamps)
        began = Memory(
            state=past.state,
            timer_started=past.timer_started,
            score=past.score,
            history=(snapshot,),
        )
        yield began, Observation(NOW, seen.local, seen.alive, seen.global_maintenance)
