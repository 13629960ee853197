"""Who watches whom between two turns, enumerated."""

from itertools import product

from ha.core.facts import Peer, State, Vm
from ha.core.vigil import WATCHERS, Vigil, mark_of, vigil_of
from tests.ha.core.worlds import (
    ABSENT,
    GOOD,
    HELD_HERE,
    HELD_THERE,
    LEASES,
    THERE,
    UNKNOWN,
    facts,
    memory,
)

ALIVE = (((GOOD, 3400),), ((ABSENT, 3400),), ((UNKNOWN, 0),), ())


def test_every_case() -> None:
    for state, alive, lease, score, known in product(
        State, ALIVE, LEASES, (0, 3400), (True, False)
    ):
        seen = facts(ABSENT, alive if known else (), known=known, lease=lease)
        vigil = vigil_of(memory(state, score=score), seen, seen.alive)
        up_there = known and alive == ALIVE[0]
        there_is_one = up_there or (known and lease.owner == THERE)
        assert (vigil is not None) == (there_is_one and state is State.ENGINE_DOWN and score > 0)
        if vigil is not None:
            vm = seen.alive[0].engine.vm if seen.alive and seen.alive[0].engine else None
            assert vigil == Vigil(THERE, mark_of(lease, vm))


def test_the_hosts_that_would_start_next_watch_and_the_others_do_not() -> None:
    """Of ten equal ones the first, as ids break a tie; and a better score comes before all."""
    for here, ours in product(range(2, 12), (3400, 3399, 3401)):
        scores = {host: ours if host == here else 3400 for host in range(2, 12)}
        alive = (Peer(1, "h1", 5, 3400, GOOD),) + tuple(
            Peer(host, f"h{host}", 5, score, ABSENT)
            for host, score in scores.items()
            if host != here
        )
        seen = facts(ABSENT, lease=HELD_HERE)
        seen = type(seen)(
            now=seen.now,
            host_id=here,
            local=seen.local,
            global_maintenance=False,
            alive=alive,
            liveness_known=True,
            timing=seen.timing,
        )
        ranks = sorted(scores, key=lambda host: (-scores[host], host))
        vigil = vigil_of(memory(State.ENGINE_DOWN, score=ours), seen, alive)
        assert (vigil is not None) == (ranks.index(here) < WATCHERS), (here, ours)


def test_a_holder_that_is_not_alive_is_watched_too() -> None:
    """Its agent is stopped, its VM runs."""
    seen = facts(ABSENT, lease=HELD_THERE)
    silent = Peer(THERE, "h2", 5, 0, GOOD)
    vigil = vigil_of(memory(State.ENGINE_DOWN), seen, (silent,))
    assert vigil == Vigil(THERE, mark_of(HELD_THERE, Vm.UP))


def test_a_change_of_holder_state_or_vm_is_another_mark() -> None:
    marks = {mark_of(lease, vm) for lease, vm in product(LEASES, (*Vm, None))}
    assert len(marks) == len(LEASES) * (len(Vm) + 1)
