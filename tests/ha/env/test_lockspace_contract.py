"""A lockspace and the engine VM's lease in it: one contract for sanlock and simulator."""

import errno
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

pytest.importorskip("sanlock", reason="the distribution's sanlock binding is missing")

from ha.core.vm_lease import FREE_LEASE, UNKNOWN_LEASE, LeaseState, VmLease  # noqa: E402
from ha.env.ports import HostIdTaken, LockspaceFailed  # noqa: E402
from tests.ha.env.lockspace_rigs import (  # noqa: E402  (needs the binding)
    HOST_ID,
    Rig,
    SanlockRig,
    SimulatedRig,
)

# The daemon stays in what a test does not leave, which takes seconds.
NUMBERS = count()
# What sanlock says of a join that was given up, and of a lockspace that never was written.
ERROR, BAD_MAGIC = -201, -223


@pytest.fixture(params=["sanlock", "simulated"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param == "sanlock":
        request.getfixturevalue("sanlock_daemon")
        yield SanlockRig(tmp_path, f"he-{next(NUMBERS)}")
    else:
        simulated = SimulatedRig()
        yield simulated
        simulated.close()


def test_a_host_id_that_another_one_is_asked_of_stays(rig: Rig) -> None:
    rig.lockspace.join(HOST_ID)
    with pytest.raises(HostIdTaken, match="host id 6") as refused:
        rig.lockspace.join(6)
    assert refused.value.code == errno.EINVAL
    assert rig.lockspace.held(6) is False
    rig.lockspace.leave(6)
    assert rig.lockspace.held(HOST_ID) is True


def test_holders_are_known_after_a_renewal_and_forgotten_with_the_lockspace(rig: Rig) -> None:
    rig.lockspace.join(HOST_ID)
    rig.renew()
    [first] = rig.lockspace.holders()
    assert (first.host_id, first.state) == (HOST_ID, "live")
    rig.lockspace.leave(HOST_ID)
    assert rig.lockspace.holders() == ()
    rig.lockspace.join(HOST_ID)
    assert rig.lockspace.holders() == ()
    rig.renew()
    [second] = rig.lockspace.holders()
    assert second.generation == first.generation + 1
    assert second.timestamp > first.timestamp


def test_what_is_no_lockspace_is_not_joined(rig: Rig) -> None:
    rig.spoil()
    with pytest.raises(LockspaceFailed) as refused:
        rig.lockspace.join(HOST_ID)
    assert type(refused.value) is LockspaceFailed
    assert refused.value.code == BAD_MAGIC
    assert rig.lockspace.held(HOST_ID) is False


def test_one_whose_lease_is_in_use_is_not_left(rig: Rig) -> None:
    rig.lockspace.join(HOST_ID)
    rig.take()
    with pytest.raises(LockspaceFailed) as refused:
        rig.lockspace.leave(HOST_ID)
    assert refused.value.code == errno.EBUSY
    assert rig.lockspace.held(HOST_ID) is True
    rig.give_back()
    rig.lockspace.leave(HOST_ID)
    assert rig.lockspace.held(HOST_ID) is False


def test_who_leaves_while_it_is_joined_ends_that(rig: Rig) -> None:
    """As on a host that goes down just after it has come up."""
    end = rig.begin_to_join()
    assert rig.lockspace.held(HOST_ID) is None
    rig.lockspace.leave(HOST_ID)
    [trouble] = end()
    assert trouble is not None
    assert trouble.code == ERROR
    assert rig.lockspace.held(HOST_ID) is False
    rig.lockspace.join(HOST_ID)
    assert rig.lockspace.held(HOST_ID) is True


def test_a_lease_is_free_until_it_is_taken_and_again_when_it_is_given_back(rig: Rig) -> None:
    assert rig.lease.look() == FREE_LEASE  # storage says so, whether or not one is in
    rig.lockspace.join(HOST_ID)
    rig.take()
    rig.renew()
    assert rig.lease.look() == VmLease(LeaseState.LIVE, HOST_ID)
    rig.give_back()
    assert rig.lease.look() == FREE_LEASE


def test_a_lease_that_cannot_be_read_is_unknown(rig: Rig) -> None:
    rig.lose_storage()
    assert rig.lease.look() == UNKNOWN_LEASE
