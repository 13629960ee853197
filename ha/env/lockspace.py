"""A lockspace of the real sanlock daemon. The only importer of its binding.

Joining follows upstream: five attempts, five seconds apart, while sanlock says "try again".
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import sanlock

from ha.core.leases import (
    DEFAULT_IO_TIMEOUT_SECONDS,
    LeaseHolder,
    with_another_io_timeout,
)
from ha.direct_io import read_direct
from ha.env.ports import HostIdTaken, LockspaceFailed

JOIN_ATTEMPTS = 5
JOIN_PAUSE_SECONDS = 5.0
ALIGN_BYTES = 1024 * 1024
# sanlock_rv.h: another host uses this host id.
SANLK_HOSTID_BUSY = -262
_TRY_AGAIN = (errno.EINTR, errno.EINPROGRESS, errno.ENOENT, errno.EAGAIN)
_STATES = {
    sanlock.HOST_UNKNOWN: "unknown",
    sanlock.HOST_FREE: "free",
    sanlock.HOST_LIVE: "live",
    sanlock.HOST_FAIL: "fail",
    sanlock.HOST_DEAD: "dead",
}
_STATE_MASK = 0xF


class SanlockLockspace:
    """One lockspace at the start of a file or device; links are followed when it is used.

    `io_timeout_seconds` must be the one that stands in the lockspace, hence the same on all hosts.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        io_timeout_seconds: int = DEFAULT_IO_TIMEOUT_SECONDS,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        self._name = name.encode()
        self._path = path
        self._resolved: str | None = None
        self._io_timeout_seconds = io_timeout_seconds
        self._pause = pause

    def join(self, host_id: int) -> None:
        """Take the lease on this host id: 21 s with sanlock's default, at once if it is held.

        Raises HostIdTaken when this host holds another id or another host holds this one, and
        LockspaceFailed after five attempts or when the lockspace has another io_timeout.
        """
        self._require_same_io_timeout()
        for attempt in range(1, JOIN_ATTEMPTS + 1):
            try:
                with self._asking():
                    sanlock.add_lockspace(
                        self._name, host_id, self._real_path(), iotimeout=self._io_timeout_seconds
                    )
                return
            except LockspaceFailed as refusal:
                if refusal.code == errno.EEXIST:
                    return
                if refusal.code in (errno.EINVAL, SANLK_HOSTID_BUSY):
                    raise HostIdTaken(f"host id {host_id}: {refusal}", refusal.code) from refusal
                if refusal.code not in _TRY_AGAIN or attempt == JOIN_ATTEMPTS:
                    raise
            self._pause(JOIN_PAUSE_SECONDS)

    def leave(self, host_id: int) -> None:
        """Give the lease back. Raises LockspaceFailed (EBUSY) while a VM holds a lease in it."""
        try:
            with self._asking():
                # unused: without it sanlock kills whoever still holds a lease, such as the VM.
                sanlock.rem_lockspace(self._name, host_id, self._real_path(), unused=True)
        except LockspaceFailed as refusal:
            if refusal.code != errno.ENOENT:
                raise

    def held(self, host_id: int) -> bool | None:
        """Whether this host holds the lease; None while sanlock is taking or leaving it."""
        with self._asking():
            answer: bool | None = sanlock.inq_lockspace(self._name, host_id, self._real_path())
        return answer

    def holders(self) -> Sequence[LeaseHolder]:
        """The host ids that sanlock has seen in use; empty unless joined, and just after that."""
        try:
            with self._asking():
                hosts = sanlock.get_hosts(self._name)
        except LockspaceFailed as refusal:
            if refusal.code in (errno.ENOENT, errno.EAGAIN):
                return ()
            raise
        return tuple(
            LeaseHolder(
                host["host_id"],
                _STATES.get(host["flags"] & _STATE_MASK, "unknown"),
                host["generation"],
                host["timestamp"],
            )
            for host in hosts
        )

    def _require_same_io_timeout(self) -> None:
        """Refuse to join others with another io_timeout: the lease of a live host would be taken.

        sanlock itself takes what it is given, and writes it into this host id's lease.
        """
        try:
            area = read_direct(Path(self._real_path()), 0, ALIGN_BYTES)
        except OSError as error:
            raise LockspaceFailed(f"{self._path}: {error.strerror}", error.errno or 0) from error
        ours = self._io_timeout_seconds
        other = with_another_io_timeout(area, self._name.decode(), ours)
        if other is not None:
            raise LockspaceFailed(
                f"lockspace {self._name.decode()} at {self._path} has an io_timeout of"
                f" {other.io_timeout_seconds} s (host id {other.host_id}), and agent.conf of this"
                f" host has io_timeout_seconds={ours}: it must be the same on all hosts"
            )

    def _real_path(self) -> str:
        # Resolved once: a look at hung storage would hang as well, and sanlock's answer does not.
        if self._resolved is None:
            self._resolved = os.path.realpath(self._path)
        return self._resolved

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with _sanlock_errors(f"lockspace {self._name.decode()} at {self._path}"):
            yield


def initialise_lockspace(
    name: str,
    path: Path,
    *,
    sector_bytes: int = 512,
    io_timeout_seconds: int = DEFAULT_IO_TIMEOUT_SECONDS,
) -> None:
    """Write an empty lockspace at the start of a file or device; all leases on it are forgotten.

    Raises LockspaceFailed.
    """
    with _sanlock_errors(f"lockspace {name} at {path}"):
        sanlock.write_lockspace(
            name.encode(),
            os.path.realpath(path),
            iotimeout=io_timeout_seconds,
            sector=sector_bytes,
        )


def lockspace_name(path: Path, *, sector_bytes: int = 512) -> str:
    """Return the name in the lockspace at a path. Raises LockspaceFailed when there is none."""
    with _sanlock_errors(f"lockspace at {path}"):
        found = sanlock.read_lockspace(os.path.realpath(path), sector=sector_bytes)
    name: bytes = found["lockspace"]
    return name.decode("ascii", "replace")


def joined_as(name: str) -> Sequence[int]:
    """Return the host ids of this host in a lockspace, also one that is being taken or left.

    Raises LockspaceFailed.
    """
    with _sanlock_errors(f"lockspace {name}"):
        spaces = sanlock.get_lockspaces()
    return tuple(space["host_id"] for space in spaces if space["lockspace"] == name.encode())


def initialise_lease(
    lockspace: str, name: str, path: Path, *, offset_bytes: int = 0, sector_bytes: int = 512
) -> None:
    """Write a free lease (sanlock: resource) into a file or device. Raises LockspaceFailed."""
    with _sanlock_errors(f"lease {name} at {path}"):
        sanlock.write_resource(
            lockspace.encode(),
            name.encode(),
            [(os.path.realpath(path), offset_bytes)],
            sector=sector_bytes,
        )


@contextmanager
def _sanlock_errors(what: str) -> Iterator[None]:
    try:
        yield
    except sanlock.SanlockException as error:
        raise LockspaceFailed(f"{what}: {error}", error.errno) from error
