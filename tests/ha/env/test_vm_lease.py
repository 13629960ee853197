"""The engine VM's lease as a real sanlock writes it, and what its daemon says of the holder."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

sanlock = pytest.importorskip("sanlock", reason="the distribution's sanlock binding is missing")

from ha.core.leases import LeaseHolder, Ownership, read_ownership  # noqa: E402
from ha.core.vm_lease import (  # noqa: E402
    FREE_LEASE,
    UNKNOWN_LEASE,
    LeaseState,
    VmLease,
)
from ha.env.lockspace import (  # noqa: E402  (needs the binding)
    SanlockLockspace,
    initialise_lease,
    initialise_lockspace,
)
from ha.env.ports import LockspaceFailed  # noqa: E402
from ha.env.vm_lease import StorageVmLease  # noqa: E402

MIB = 1024 * 1024
SPACE, NAME, HOST_ID = "vm-domain", "engine", 5


@dataclass
class Leases:
    """A lockspace with a lease behind it, in one file."""

    path: Path
    lockspace: SanlockLockspace

    @property
    def disks(self) -> list[tuple[str, int]]:
        return [(str(self.path), MIB)]

    def reader(self, name: str = NAME) -> StorageVmLease:
        return StorageVmLease(self.lockspace, SPACE, name, (self.path, MIB))

    def found(self) -> Ownership | None:
        return read_ownership(self.path.read_bytes()[MIB : MIB + 512], SPACE, NAME)


@pytest.fixture(params=[512, 4096])
def leases(request: pytest.FixtureRequest, tmp_path: Path, sanlock_daemon: None) -> Leases:
    path = tmp_path / "leases"
    with path.open("wb") as file:
        file.truncate(2 * MIB)
    sector = request.param
    initialise_lockspace(SPACE, path, sector_bytes=sector, io_timeout_seconds=1)
    initialise_lease(SPACE, NAME, path, offset_bytes=MIB, sector_bytes=sector)
    return Leases(path, SanlockLockspace(SPACE, path, io_timeout_seconds=1))


@pytest.fixture
def joined(leases: Leases) -> Iterator[Leases]:
    leases.lockspace.join(HOST_ID)
    yield leases
    leases.lockspace.leave(HOST_ID)


def test_a_lease_is_free_until_it_is_taken_and_free_again_when_given_back(joined: Leases) -> None:
    reader = joined.reader()
    assert reader.look() == FREE_LEASE
    holder = sanlock.register()
    names = SPACE.encode(), NAME.encode()
    sanlock.acquire(*names, joined.disks, slkfd=holder)
    found = joined.found()
    (owner,) = sanlock.read_resource_owners(*names, joined.disks, sector=sector_of(joined))
    assert found is not None
    assert (found.host_id, found.generation, found.timestamp) == (
        owner["host_id"],
        owner["generation"],
        owner["timestamp"],
    )
    # sanlock has seen its own host id in use once it has renewed it; then it says that it lives.
    assert reader.look() in (
        VmLease(LeaseState.LIVE, HOST_ID),
        VmLease(LeaseState.UNKNOWN, HOST_ID),
    )
    sanlock.release(*names, joined.disks, slkfd=holder)
    os.close(holder)
    assert reader.look() == FREE_LEASE


def test_who_holds_it_and_dies_with_it_gives_it_back(joined: Leases) -> None:
    """As the emulator that is killed: sanlock releases what its process held."""
    names = SPACE.encode(), NAME.encode()
    child = os.fork()
    if child == 0:
        sanlock.acquire(*names, joined.disks, slkfd=sanlock.register())
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    reader = joined.reader()
    for _ in range(1000):
        if reader.look() == FREE_LEASE:
            break
        time.sleep(0.01)
    taken = joined.found()
    assert taken is not None
    assert (taken.host_id, taken.timestamp) == (HOST_ID, 0)


def sector_of(leases: Leases) -> int:
    return int.from_bytes(leases.path.read_bytes()[MIB + 12 : MIB + 16], "little")


def test_a_lease_of_another_name_is_unknown(leases: Leases) -> None:
    assert leases.reader("another").look() == UNKNOWN_LEASE


class Silent:
    """A lockspace of which sanlock says nothing."""

    def holders(self) -> Sequence[LeaseHolder]:
        raise LockspaceFailed("sanlock does not answer")


def test_trouble_is_unknown_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "gone"
    reader = StorageVmLease(Silent(), SPACE, NAME, (path, 0))  # type: ignore[arg-type]
    for _ in range(3):
        assert reader.look() == UNKNOWN_LEASE
    assert caplog.text.count("is not known") == 1
    path.write_bytes(bytes(4096))
    for _ in range(3):
        assert reader.look() == UNKNOWN_LEASE
    assert caplog.text.count("sanlock does not answer") == 1
