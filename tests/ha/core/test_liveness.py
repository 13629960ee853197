from dataclasses import replace

import pytest

from ha.core.facts import Memory, Monotonic, Observation, Peer
from ha.core.liveness import look
from ha.core.vm_lease import UNKNOWN_LEASE, LeaseState, VmLease
from tests.ha.core.worlds import ABSENT, SETTINGS, local


class Watch:
    """Looks at one peer's timestamps over time."""

    def __init__(self) -> None:
        self.memory = Memory()

    def see(
        self, now: int, stamp: int | None, *, engine: bool = True, lease: VmLease = UNKNOWN_LEASE
    ) -> tuple[bool, bool]:
        """Return whether liveness is known, and whether the peer is alive."""
        peers = () if stamp is None else (Peer(2, "h2", stamp, 0, ABSENT if engine else None),)
        seen = Observation(Monotonic(now), local(ABSENT, lease=lease), peers, False)
        self.memory, facts = look(self.memory, seen, SETTINGS)
        return facts.liveness_known, bool(facts.alive)


def test_sixty_seconds_are_not_enough_and_sixty_one_are() -> None:
    watch = Watch()
    assert watch.see(0, 1) == (False, False)
    assert watch.see(60, 2) == (False, False)
    assert watch.see(61, 3) == (True, True)


def test_a_stamp_that_stands_still_is_not_alive() -> None:
    watch = Watch()
    for now in range(0, 70, 10):
        watch.see(now, 5)
    assert watch.see(70, 5) == (True, False)
    assert watch.see(80, 6) == (True, True)


def test_a_host_dies_sixty_seconds_after_its_last_change() -> None:
    watch = Watch()
    for now in range(0, 110, 10):
        watch.see(now, now)
    for now in range(110, 170, 10):
        assert watch.see(now, 100) == (True, True), now
    assert watch.see(170, 100) == (True, False)


def test_a_host_seen_for_the_first_time_is_not_alive_until_it_changes() -> None:
    watch = Watch()
    for now in range(0, 100, 10):
        watch.see(now, None)
    assert watch.see(100, 7) == (True, False)
    assert watch.see(110, 7) == (True, False)
    assert watch.see(120, 8) == (True, True)


def test_a_stamp_that_went_backwards_has_changed() -> None:
    watch = Watch()
    for now in range(0, 70, 10):
        watch.see(now, 9000)
    assert watch.see(70, 3) == (True, True)


def test_a_host_without_a_record_this_turn_is_not_counted() -> None:
    watch = Watch()
    for now in range(0, 80, 10):
        watch.see(now, now)
    assert watch.see(80, None) == (True, False)
    assert watch.see(90, 90) == (True, True)


def test_a_host_whose_engine_cannot_be_told_is_not_counted() -> None:
    watch = Watch()
    for now in range(0, 80, 10):
        watch.see(now, now)
    assert watch.see(80, 80, engine=False) == (True, False)


@pytest.mark.parametrize("state", LeaseState)
@pytest.mark.parametrize("owner", [None, 1, 2, 3])
def test_a_host_that_has_lost_the_vms_lease_is_not_alive(
    state: LeaseState, owner: int | None
) -> None:
    watch = Watch()
    for now in range(0, 80, 10):
        watch.see(now, now)
    lost = owner == 2 and state in (LeaseState.FAIL, LeaseState.DEAD)
    assert watch.see(80, 80, lease=VmLease(state, owner)) == (True, not lost)
    assert watch.see(90, 90) == (True, True)  # sanlock sees it renew again


def test_history_is_bounded_to_a_quarter_of_an_hour() -> None:
    watch = Watch()
    for now in range(0, 2000, 10):
        watch.see(now, now)
    ages = [1990 - snapshot.now for snapshot in watch.memory.history]
    assert (min(ages), max(ages)) == (0, 890)


@pytest.mark.parametrize(("now", "retries"), [(699, 2), (700, 0)])
def test_failed_starts_expire_on_the_monotonic_clock(now: int, retries: int) -> None:
    watch = Watch()
    watch.memory = replace(watch.memory, retries=2, last_start=Monotonic(100))
    watch.see(now, None)
    assert watch.memory.retries == retries
