"""The lockspace adapter against a real sanlock daemon of the test's own, and scripted refusals."""

import errno
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

sanlock = pytest.importorskip("sanlock", reason="the distribution's sanlock binding is missing")

from ha.env.lockspace import (  # noqa: E402  (needs the binding)
    SanlockLockspace,
    initialise_lease,
    initialise_lockspace,
)
from ha.env.ports import HostIdTaken, LeaseHolder, Lockspace, LockspaceFailed  # noqa: E402
from tests.ha.broker_world import MemoryLockspace  # noqa: E402

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


@pytest.fixture(params=["sanlock", "memory"])
def lockspace(request: pytest.FixtureRequest, tmp_path: Path) -> Lockspace:
    if request.param == "memory":
        return MemoryLockspace()
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
