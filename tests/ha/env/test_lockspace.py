"""The lockspace adapter against a real sanlock daemon of the test's own, and scripted refusals."""

import errno
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

sanlock = pytest.importorskip("sanlock", reason="the distribution's sanlock binding is missing")

from ha.core.leases import LeaseHolder, read_leases, sector_bytes_of  # noqa: E402
from ha.env.lockspace import (  # noqa: E402  (needs the binding)
    SanlockLockspace,
    initialise_lease,
    initialise_lockspace,
    joined_as,
    lockspace_name,
)
from ha.env.ports import HostIdTaken, Lockspace, LockspaceFailed  # noqa: E402
from tests.ha.broker_world import MemoryLockspace  # noqa: E402
from tests.ha.simulator.virtual import simulated_lockspace  # noqa: E402

MIB = 1024 * 1024


def area(folder: Path, name: str) -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(MIB)
    initialise_lockspace(name, path, io_timeout_seconds=1)
    return path


def open_lockspace(path: Path) -> SanlockLockspace:
    return SanlockLockspace(path.name, path, io_timeout_seconds=1, pause=lambda _: None)


def await_holders(lockspace: Lockspace) -> Sequence[LeaseHolder]:
    """sanlock knows the holders only after it has renewed its own lease once."""
    for _ in range(100):
        if holders := lockspace.holders():
            return holders
        time.sleep(0.1)
    return ()


@pytest.fixture(params=["sanlock", "memory", "simulated"])
def lockspace(request: pytest.FixtureRequest, tmp_path: Path) -> Lockspace:
    if request.param == "memory":
        return MemoryLockspace()
    if request.param == "simulated":
        return simulated_lockspace()
    request.getfixturevalue("sanlock_daemon")
    return open_lockspace(area(tmp_path, "he-join"))


def test_join_hold_and_leave(lockspace: Lockspace) -> None:
    assert lockspace.held(1) is False
    assert lockspace.holders() == ()
    lockspace.join(1)
    assert lockspace.held(1) is True
    lockspace.join(1)  # already held
    assert [holder.host_id for holder in await_holders(lockspace)] == [1]
    with pytest.raises(HostIdTaken, match="host id 2"):
        lockspace.join(2)
    lockspace.leave(1)
    assert lockspace.held(1) is False
    lockspace.leave(1)  # nothing to leave


@pytest.mark.usefixtures("sanlock_daemon")
def test_a_lockspace_that_was_never_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "blank"
    path.write_bytes(b"\0" * MIB)
    with pytest.raises(LockspaceFailed, match="blank"):
        open_lockspace(path).join(1)


@pytest.mark.usefixtures("sanlock_daemon")
def test_a_lockspace_whose_lease_is_in_use_is_not_left(tmp_path: Path) -> None:
    """Without this, leaving would kill the engine VM, which holds a lease in it."""
    path = area(tmp_path, "he-busy")
    with path.open("ab") as file:
        file.truncate(2 * MIB)
    initialise_lease(path.name, "engine", path, offset_bytes=MIB)
    lockspace = open_lockspace(path)
    lockspace.join(1)
    holder = sanlock.register()
    lease = path.name.encode(), b"engine", [(str(path), MIB)]
    sanlock.acquire(*lease, slkfd=holder)
    with pytest.raises(LockspaceFailed) as refused:
        lockspace.leave(1)
    assert refused.value.code == errno.EBUSY
    sanlock.release(*lease, slkfd=holder)
    os.close(holder)
    lockspace.leave(1)


@pytest.mark.usefixtures("sanlock_daemon")
def test_a_lease_is_written_where_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "leases"
    with path.open("wb") as file:
        file.truncate(3 * MIB)
    initialise_lease("he", "engine", path, offset_bytes=MIB)
    assert sanlock.read_resource(str(path), MIB)["resource"] == b"engine"
    assert path.read_bytes()[:MIB] == b"\0" * MIB


@pytest.mark.usefixtures("sanlock_daemon")
@pytest.mark.parametrize(("sector_bytes", "host_ids"), [(512, 2000), (4096, 250)])
def test_a_lockspace_as_it_is_on_storage(tmp_path: Path, sector_bytes: int, host_ids: int) -> None:
    path = area(tmp_path, "he-area")
    initialise_lockspace("he-area", path, sector_bytes=sector_bytes)
    fresh = path.read_bytes()
    assert sector_bytes_of(bytes(4096), fresh) == sector_bytes
    leases = read_leases(fresh, sector_bytes)
    assert [lease.host_id for lease in leases] == list(range(1, host_ids + 1))
    assert {(lease.space_name, lease.timestamp) for lease in leases} == {("he-area", 0)}
    assert {(lease.io_timeout_seconds, lease.align_1m) for lease in leases} == {(10, True)}
    assert lockspace_name(path, sector_bytes=sector_bytes) == "he-area"


@pytest.mark.usefixtures("sanlock_daemon")
def test_a_lease_in_use_as_it_is_on_storage(tmp_path: Path) -> None:
    path = area(tmp_path, "he-use")
    lockspace = open_lockspace(path)
    lockspace.join(3)
    third = read_leases(path.read_bytes(), 512)[2]
    assert third.host_id == 3
    assert third.timestamp > 0
    assert third.owner_name
    assert third.io_timeout_seconds == 1
    assert list(joined_as("he-use")) == [3]
    lockspace.leave(3)
    assert read_leases(path.read_bytes(), 512)[2].timestamp == 0
    assert list(joined_as("he-use")) == []


@pytest.mark.usefixtures("sanlock_daemon")
@pytest.mark.parametrize("sector_bytes", [512, 4096])
def test_a_host_with_another_io_timeout_does_not_join(tmp_path: Path, sector_bytes: int) -> None:
    """It would take the lease of a live host whose io_timeout is longer."""
    path = area(tmp_path, "he-io")
    initialise_lockspace("he-io", path, sector_bytes=sector_bytes, io_timeout_seconds=2)
    before = path.read_bytes()
    with pytest.raises(LockspaceFailed) as refused:
        open_lockspace(path).join(1)
    assert "an io_timeout of 2 s (host id 1)" in str(refused.value)
    assert "io_timeout_seconds=1: it must be the same on all hosts" in str(refused.value)
    assert path.read_bytes() == before
    assert list(joined_as("he-io")) == []


@pytest.mark.usefixtures("sanlock_daemon")
def test_the_io_timeout_of_a_host_that_joined_before_counts_too(tmp_path: Path) -> None:
    """As when an agent of before wrote its own into its lease."""
    path = area(tmp_path, "he-old")
    sanlock.add_lockspace(b"he-old", 7, str(path), iotimeout=2)
    sanlock.rem_lockspace(b"he-old", 7, str(path))
    with pytest.raises(LockspaceFailed, match="an io_timeout of 2 s .host id 7."):
        open_lockspace(path).join(1)


@pytest.mark.usefixtures("sanlock_daemon")
def test_what_is_wrong_with_a_torn_lockspace_is_said_by_sanlock(tmp_path: Path) -> None:
    """-229, the checksum: half a lease tells no io_timeout, and the lockspace is to be repaired."""
    path = area(tmp_path, "he-half")
    sound = path.read_bytes()
    path.write_bytes(b"".join(sound[at : at + 160] + os.urandom(352) for at in range(0, MIB, 512)))
    with pytest.raises(LockspaceFailed) as refused:
        open_lockspace(path).join(1)
    assert refused.value.code == -229


def test_a_lockspace_that_cannot_be_read_is_not_joined(tmp_path: Path) -> None:
    with pytest.raises(LockspaceFailed, match="No such file") as refused:
        open_lockspace(tmp_path / "none").join(1)
    assert refused.value.code == errno.ENOENT


@pytest.mark.usefixtures("sanlock_daemon")
def test_what_is_no_lockspace_has_no_name(tmp_path: Path) -> None:
    path = area(tmp_path, "he-torn")
    with path.open("r+b") as file:
        file.write(b"x" * 512)
    with pytest.raises(LockspaceFailed, match="he-torn"):
        lockspace_name(path)
    assert [lease.host_id for lease in read_leases(path.read_bytes(), 512)][:2] == [2, 3]


def refusals(*codes: int) -> Iterator[Exception]:
    return (sanlock.SanlockException(code, "refused", "by the test") for code in codes)


def scripted(monkeypatch: pytest.MonkeyPatch, *codes: int) -> list[float]:
    """Let sanlock refuse with these codes, then succeed; return the pauses made."""
    script = refusals(*codes)

    def add_lockspace(*_: object, **__: object) -> None:
        refusal = next(script, None)
        if refusal:
            raise refusal

    monkeypatch.setattr(sanlock, "add_lockspace", add_lockspace)
    monkeypatch.setattr(SanlockLockspace, "_require_same_io_timeout", lambda _: None)
    return []


def join_with(pauses: list[float]) -> None:
    SanlockLockspace("he", Path("/nowhere"), pause=pauses.append).join(1)


def test_joining_is_tried_five_times_five_seconds_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = scripted(monkeypatch, *[errno.ENOENT] * 4)
    join_with(pauses)
    assert pauses == [5.0] * 4


def test_the_fifth_refusal_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = scripted(monkeypatch, *[errno.EINPROGRESS] * 5)
    with pytest.raises(LockspaceFailed):
        join_with(pauses)
    assert pauses == [5.0] * 4


@pytest.mark.parametrize("code", [errno.EINVAL, -262])
def test_a_taken_host_id_is_fatal_at_once(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    pauses = scripted(monkeypatch, code)
    with pytest.raises(HostIdTaken):
        join_with(pauses)
    assert pauses == []
