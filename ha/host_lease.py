"""The lease on this host's id, in the whiteboard's lockspace and in the engine VM's.

Taking it lasts 21 s with sanlock's default, and minutes after a crash. Nobody waits for that: it is
taken in threads, and who asks is told "joining" until it is held. An agent can so end at any time.
"""

import errno
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ha.env.ports import BrokerError, HostIdTaken, Lockspace, LockspaceFailed
from ha.env.time_ports import Clock, Threads
from ha.errand import Errand, Unfinished

JOIN_WAIT_SECONDS = 5.0
# At shutdown systemd ends the VM at the same time as the services.
BUSY_SECONDS = 20.0
BUSY_PAUSE_SECONDS = 0.2
# sanlock_rv.h: what is read of a lease is none, torn, or another lockspace's (-223 magic, ...,
# -229 checksum).
SANLK_NO_LOCKSPACE = range(-229, -209)

log = logging.getLogger(__name__)


class HostLease:
    """One host's id; safe to call from several threads. Trouble is a BrokerError."""

    def __init__(
        self,
        lockspace: Lockspace,
        vm_lockspace: Lockspace,
        host_id: int,
        *,
        clock: Clock,
        threads: Threads,
        wait_seconds: float = JOIN_WAIT_SECONDS,
    ) -> None:
        self._lockspace = lockspace
        self._vm_lockspace = vm_lockspace
        self._host_id = host_id
        self._clock = clock
        self._guard = threading.Lock()
        self._wanted = False
        self._taking = False
        self._joins = tuple(
            Errand(
                f"join-{name}",
                join,
                LockspaceFailed,
                wait_seconds,
                clock=clock,
                threads=threads,
            )
            for name, join in (("vm-lockspace", self._take_vms), ("lockspace", self._take_own))
        )

    def lock(self) -> None:
        """Take the lease in both lockspaces at once; "joining" while that goes on."""
        with self._guard:
            self._wanted = True
        with _sanlock_trouble():
            try:
                for join in self._joins:
                    join.begin()
                for join in self._joins:
                    join.ask()
            except Unfinished as error:
                raise self._not_yet() from error
        if not self.locked():  # it was given back meanwhile, or lost
            raise self._not_yet()

    def release(self) -> None:
        """Leave the whiteboard's lockspace; the VM's stays, as the VM may run here."""
        with self._guard:
            self._wanted = False
            if self._taking:
                return  # whoever takes it sees that it is not wanted, and gives it back
        with _sanlock_trouble():
            self._lockspace.leave(self._host_id)

    def leave_both(self, busy_seconds: float = BUSY_SECONDS) -> None:
        """Leave both lockspaces, on a host that goes down; one that stays in use is kept.

        sanlock does not stop while it is in a lockspace, so the shutdown would wait for its limit,
        and peers would wait for the lease to run out. Never by force: that kills who holds a lease.
        """
        with self._guard:
            self._wanted = False
        deadline = self._clock.monotonic() + busy_seconds
        for lockspace in (self._lockspace, self._vm_lockspace):
            while trouble := _trouble_of_leaving(lockspace, self._host_id):
                if trouble.code != errno.EBUSY or self._clock.monotonic() > deadline:
                    log.warning("A lockspace is kept: %s", trouble)
                    break
                self._clock.sleep(BUSY_PAUSE_SECONDS)

    def locked(self) -> bool:
        """Whether the lease is held in both lockspaces."""
        with _sanlock_trouble():
            both = (self._lockspace, self._vm_lockspace)
            return all(lockspace.held(self._host_id) is True for lockspace in both)

    def require(self) -> None:
        """Refuse with "not_locked" unless the lease on the whiteboard's host id is held."""
        with _sanlock_trouble():
            held = self._lockspace.held(self._host_id)
        if held is not True:
            raise BrokerError("not_locked", f"the lease on host id {self._host_id} is not held")

    def _not_yet(self) -> BrokerError:
        return BrokerError("joining", f"the lease on host id {self._host_id} is being taken")

    def _take_vms(self) -> None:
        _join(self._vm_lockspace, self._host_id)

    def _take_own(self) -> None:
        with self._guard:
            if not self._wanted:
                return
            self._taking = True
        try:
            _join(self._lockspace, self._host_id)
        finally:
            with self._guard:
                self._taking = False
                given_up = not self._wanted
        if given_up:
            log.info("Host id is no longer wanted, giving it back")
            self._lockspace.leave(self._host_id)


def _join(lockspace: Lockspace, host_id: int) -> None:
    if lockspace.held(host_id) is not True:
        log.info("Host id is not locked, trying to lock")
        lockspace.join(host_id)


def _trouble_of_leaving(lockspace: Lockspace, host_id: int) -> LockspaceFailed | None:
    try:
        lockspace.leave(host_id)
    except LockspaceFailed as trouble:
        return trouble
    return None


@contextmanager
def _sanlock_trouble() -> Iterator[None]:
    try:
        yield
    except HostIdTaken as error:
        # EINVAL: it is this host itself that already holds another id.
        kind = "failed" if error.code == errno.EINVAL else "host_id_taken"
        raise BrokerError(kind, f"the host id is taken: {error}") from error
    except LockspaceFailed as error:
        raise BrokerError(_kind_of(error.code), str(error)) from error


def _kind_of(code: int) -> str:
    return "lockspace" if code in SANLK_NO_LOCKSPACE else "failed"
