"""A lockspace of a simulated host's sanlock, joined as by the real adapter, and the VM's lease."""

import errno
from collections.abc import Sequence

from ha.core.leases import LeaseHolder, Ownership
from ha.core.vm_lease import UNKNOWN_LEASE, VmLease, judge_lease
from ha.env.ports import HostIdTaken, LockspaceFailed, WhiteboardFailed
from ha.simulator.leases import Area, Lease
from ha.simulator.sanlock import HOSTID_BUSY, OK, POLL_SECONDS, Sanlock
from ha.simulator.schedule import Schedule
from ha.simulator.storage import StoragePath

JOIN_ATTEMPTS = 5
JOIN_PAUSE_SECONDS = 5.0
_TRY_AGAIN = (errno.EINTR, errno.EINPROGRESS, errno.ENOENT, errno.EAGAIN)


class SimLockspace:
    """One lockspace, for one process."""

    def __init__(self, schedule: Schedule, sanlock: Sanlock, area: Area) -> None:
        self._schedule = schedule
        self._sanlock = sanlock
        self._area = area

    def join(self, host_id: int) -> None:
        """Take the lease on this host id. Raises HostIdTaken, LockspaceFailed."""
        self._schedule.check()
        for attempt in range(1, JOIN_ATTEMPTS + 1):
            request = self._sanlock.join(self._area, host_id)
            request.over.wait()
            if request.code in (OK, errno.EEXIST):
                return
            refusal = f"lockspace {self._area.name}: add failure {request.code}"
            if request.code in (errno.EINVAL, HOSTID_BUSY):
                raise HostIdTaken(f"host id {host_id}: {refusal}", request.code)
            if request.code not in _TRY_AGAIN or attempt == JOIN_ATTEMPTS:
                raise LockspaceFailed(refusal, request.code)
            self._schedule.sleep(JOIN_PAUSE_SECONDS)

    def leave(self, host_id: int) -> None:
        """Give the lease back, also one that is yet to come: who joins is then refused.

        Raises LockspaceFailed (EBUSY) while the VM holds a lease in it.
        """
        self._schedule.check()
        while (code := self._sanlock.leave(self._area, host_id)) == errno.EAGAIN:
            self._schedule.sleep(POLL_SECONDS)
        if code not in (OK, errno.ENOENT):
            raise LockspaceFailed(f"lockspace {self._area.name}: remove failure {code}", code)

    def held(self, host_id: int) -> bool | None:
        """Whether this host holds the lease; None while sanlock is taking or losing it."""
        self._schedule.check()
        space = self._sanlock.spaces.get(self._area.name)
        return False if space is None or space.host_id != host_id else space.held

    def holders(self) -> Sequence[LeaseHolder]:
        """All host ids that sanlock has seen in use."""
        self._schedule.check()
        return self._sanlock.holders(self._area)


class SimVmLease:
    """The engine VM's lease, as a host's storage and sanlock say."""

    def __init__(
        self, schedule: Schedule, sanlock: Sanlock, lease: Lease, path: StoragePath
    ) -> None:
        self._schedule = schedule
        self._sanlock = sanlock
        self._lease = lease
        self._path = path

    def look(self) -> VmLease:
        """Return who holds it, unknown when storage or sanlock do not say."""
        try:
            self._path.reach()
        except WhiteboardFailed:
            return UNKNOWN_LEASE
        owner, generation = self._lease.owner, self._lease.generation
        found = Ownership(owner, generation, timestamp=1 if owner else 0)
        return judge_lease(found, self._sanlock.holders(self._lease.area))
