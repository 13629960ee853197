"""This host's id in two lockspaces: taken in threads, asked for and given back at any time."""

import errno
import logging
import time
from collections.abc import Iterator

import pytest

from ha import host_lease
from ha.env.clock import HostClock
from ha.env.ports import BrokerError, HostIdTaken, LockspaceFailed
from ha.env.threads import HostThreads
from ha.host_lease import HostLease
from tests.ha.broker_world import MemoryLockspace

HOST_ID = 7


def lease_on(own: MemoryLockspace, vm: MemoryLockspace, host_id: int) -> HostLease:
    return HostLease(own, vm, host_id, clock=HostClock(), threads=HostThreads(), wait_seconds=0.1)


class Bench:
    """A lease on two lockspaces; `own` guards the whiteboard."""

    def __init__(self) -> None:
        self.own, self.vm = MemoryLockspace(), MemoryLockspace()
        self.lease = lease_on(self.own, self.vm, HOST_ID)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.own.free.set()
    bench.vm.free.set()


def wait_for(held: "list[int | None]", lockspaces: list[MemoryLockspace]) -> None:
    deadline = time.monotonic() + 5
    while [lockspace.host_id for lockspace in lockspaces] != held:
        assert time.monotonic() < deadline, [lockspace.host_id for lockspace in lockspaces]
        time.sleep(0.01)


def joining() -> "pytest.RaisesExc[BrokerError]":
    return pytest.raises(BrokerError, match="^joining: ")


def test_a_lease_that_takes_long_is_not_waited_for(bench: Bench) -> None:
    bench.own.free.clear()
    began = time.monotonic()
    for _ in range(3):
        with joining():
            bench.lease.lock()
    assert time.monotonic() - began < 1
    assert not bench.lease.locked()
    bench.own.free.set()
    wait_for([HOST_ID, HOST_ID], [bench.own, bench.vm])
    bench.lease.lock()
    assert bench.lease.locked()
    assert (bench.own.joins, bench.vm.joins) == (1, 1)


def test_both_are_taken_at_once(bench: Bench) -> None:
    bench.own.free.clear()
    bench.vm.free.clear()
    with joining():
        bench.lease.lock()
    assert (bench.own.joins, bench.vm.joins) == (1, 1)


def test_what_is_given_up_while_it_is_being_taken_is_given_back(bench: Bench) -> None:
    bench.own.free.clear()
    with joining():
        bench.lease.lock()
    began = time.monotonic()
    bench.lease.release()  # the agent ends
    assert time.monotonic() - began < 1
    bench.own.free.set()
    wait_for([None, HOST_ID], [bench.own, bench.vm])


def test_an_agent_that_comes_back_keeps_what_is_being_taken(bench: Bench) -> None:
    bench.own.free.clear()
    with joining():
        bench.lease.lock()
    bench.lease.release()
    with joining():
        bench.lease.lock()
    bench.own.free.set()
    wait_for([HOST_ID, HOST_ID], [bench.own, bench.vm])
    bench.lease.lock()
    assert bench.own.joins == 1


def test_trouble_is_told_once_and_then_it_is_tried_again(bench: Bench) -> None:
    bench.vm.trouble = [LockspaceFailed("no sanlock")]
    with pytest.raises(BrokerError, match="^failed: no sanlock"):
        bench.lease.lock()
    bench.lease.lock()
    assert bench.lease.locked()


def test_held_in_one_only_is_not_locked(bench: Bench) -> None:
    bench.lease.lock()
    bench.own.host_id = None
    assert not bench.lease.locked()
    bench.vm.in_progress = True
    bench.own.host_id = HOST_ID
    assert not bench.lease.locked()


def test_a_host_that_goes_down_leaves_both(bench: Bench) -> None:
    bench.lease.lock()
    bench.lease.leave_both()
    assert (bench.own.host_id, bench.vm.host_id) == (None, None)


def test_a_lockspace_that_the_vm_uses_is_left_when_the_vm_has_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_lease, "BUSY_PAUSE_SECONDS", 0.01)
    bench.lease.lock()
    bench.vm.busy = [LockspaceFailed("in use", errno.EBUSY)] * 3
    bench.lease.leave_both()
    assert bench.vm.host_id is None


def test_a_lockspace_that_stays_in_use_is_kept_and_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(host_lease, "BUSY_PAUSE_SECONDS", 0.01)
    caplog.set_level(logging.WARNING)
    bench.lease.lock()
    bench.vm.busy = [LockspaceFailed("in use", errno.EBUSY)] * 1000
    bench.own.busy = [LockspaceFailed("no sanlock")]
    bench.lease.leave_both(busy_seconds=0.1)
    assert (bench.own.host_id, bench.vm.host_id) == (HOST_ID, HOST_ID)
    told = [record.message for record in caplog.records if record.name == host_lease.log.name]
    assert told == [
        "A lockspace is kept: no sanlock",
        "A lockspace is kept: in use",
    ]


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (LockspaceFailed("magic", -223), "lockspace"),
        (LockspaceFailed("checksum", -229), "lockspace"),
        (LockspaceFailed("name", -226), "lockspace"),
        (LockspaceFailed("timeout", -202), "failed"),
        (LockspaceFailed("paxos", -230), "failed"),
        (LockspaceFailed("no daemon", errno.ECONNREFUSED), "failed"),
        (HostIdTaken("busy", -262), "host_id_taken"),
        (HostIdTaken("this host holds another", errno.EINVAL), "failed"),
    ],
)
def test_why_it_was_refused(refusal: LockspaceFailed, kind: str) -> None:
    lockspace = MemoryLockspace()
    lockspace.trouble = [refusal]
    with pytest.raises(BrokerError) as refused:
        lease_on(lockspace, MemoryLockspace(), 1).lock()
    assert refused.value.kind == kind
