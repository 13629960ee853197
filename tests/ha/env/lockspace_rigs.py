"""A lockspace with a lease in it, to be held to a contract: of a real sanlock, and simulated.

The real daemon is the test's own, with an io_timeout of 1 s; one host is all there is.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import sanlock

from ha.env.lockspace import SanlockLockspace, initialise_lease, initialise_lockspace
from ha.env.ports import Lockspace, LockspaceFailed, VmLeaseReader
from ha.env.vm_lease import StorageVmLease
from ha.simulator.lockspace_sim import SimLockspace, SimVmLease
from ha.simulator.processes import Boot, Process
from tests.ha.simulator.virtual import Bench, Virtual

MIB = 1024 * 1024
NAME, HOST_ID = "engine", 5
IMPATIENT_SECONDS = 30.0

Ends = Callable[[], list[LockspaceFailed | None]]


class Rig(Protocol):
    """A lockspace with a lease in it, and what a test does behind them."""

    lockspace: Lockspace
    lease: VmLeaseReader

    def take(self) -> None:
        """Have the VM's emulator take the lease."""

    def give_back(self) -> None:
        """Have it end."""

    def renew(self) -> None:
        """Let sanlock renew what it holds, and look at the others."""

    def spoil(self) -> None:
        """Have the lockspace be none."""

    def lose_storage(self) -> None:
        """Have the lease be out of reach, with an error."""

    def begin_to_join(self) -> Ends:
        """Have it be joined by somebody else; what is returned waits, and gives how it went."""


class SanlockRig:
    """In a file, with the daemon."""

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        self._path = folder / "leases"
        with self._path.open("wb") as file:
            file.truncate(2 * MIB)
        initialise_lockspace(name, self._path, io_timeout_seconds=1)
        initialise_lease(name, NAME, self._path, offset_bytes=MIB)
        self.lockspace = SanlockLockspace(name, self._path, io_timeout_seconds=1)
        self.lease = StorageVmLease(self.lockspace, name, NAME, (self._path, MIB))
        self._holder = -1

    def take(self) -> None:
        self._holder = sanlock.register()
        sanlock.acquire(*self._names, slkfd=self._holder)

    def give_back(self) -> None:
        sanlock.release(*self._names, slkfd=self._holder)
        os.close(self._holder)

    @property
    def _names(self) -> tuple[bytes, bytes, list[tuple[str, int]]]:
        return self._name.encode(), NAME.encode(), [(str(self._path), MIB)]

    def renew(self) -> None:
        deadline = time.monotonic() + IMPATIENT_SECONDS
        while not self.lockspace.holders():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def spoil(self) -> None:
        with self._path.open("r+b") as file:
            file.write(bytes(MIB))

    def lose_storage(self) -> None:
        self._path.rename(self._path.with_name("gone"))

    def begin_to_join(self) -> Ends:
        ended: list[LockspaceFailed | None] = []
        thread = threading.Thread(target=lambda: ended.append(joined(self.lockspace)))
        thread.start()
        deadline = time.monotonic() + IMPATIENT_SECONDS
        while self.lockspace.held(HOST_ID) is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)

        def end() -> list[LockspaceFailed | None]:
            thread.join(IMPATIENT_SECONDS)
            return ended

        return end


class SimulatedRig:
    """In virtual time."""

    def __init__(self) -> None:
        self._bench = bench = Bench(io_seconds=2.0)
        self._sanlock = bench.sanlock("host1")
        self._lease = bench.engine.lease
        self._port = SimLockspace(bench.schedule, self._sanlock, bench.area)
        lease = SimVmLease(bench.schedule, self._sanlock, self._lease, bench.paths["host1"])
        self.lockspace: Any = Virtual(bench.schedule, self._port)
        self.lease: Any = Virtual(bench.schedule, lease)

    def _lost(self) -> None:
        raise AssertionError("the lease is lost")

    def take(self) -> None:
        self._bench.run(1)
        request = self._sanlock.acquire(self._lease, self._lost)
        assert (request.over.is_set(), request.code) == (True, 0)

    def give_back(self) -> None:
        self._sanlock.release(self._lease, self._lost)

    def renew(self) -> None:
        self._bench.run(4)

    def spoil(self) -> None:
        self._bench.area.readable = False

    def lose_storage(self) -> None:
        self._bench.paths["host1"].refuse()

    def begin_to_join(self) -> Ends:
        ended: list[LockspaceFailed | None] = []
        process = Process("another", "host1", Boot())
        self._bench.schedule.spawn(process, "join", lambda: ended.append(joined(self._port)))
        self._bench.run(0.5)

        def end() -> list[LockspaceFailed | None]:
            self._bench.run(10)
            return ended

        return end

    def close(self) -> None:
        """End what runs."""
        self._bench.schedule.close()


def joined(lockspace: Lockspace) -> LockspaceFailed | None:
    """Join; return what trouble it has."""
    try:
        lockspace.join(HOST_ID)
    except LockspaceFailed as trouble:
        return trouble
    return None
