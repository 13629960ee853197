"""recover-lockspace: a lockspace of zeros, so that no agent can set global maintenance."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.lockspace_area import ALIGN_BYTES
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_lockspace import PATH, FakeLockspace, areas_of, zeros
from tests.rehearsal import MUTATING, Rehearsal, end_state_of

CHANGING = (*MUTATING, "sanlock client rem_lockspace", "sanlock direct init")


@contextmanager
def broken(folder: Path) -> Iterator[FakeCluster]:
    with fake_cluster(folder, bad={}) as cluster:
        FakeLockspace(cluster).spoil(zeros())
        cluster.publish()
        yield cluster


def end_state(cluster: FakeCluster) -> object:
    data = (cluster.folder / "shared" / PATH.lstrip("/")).read_bytes()
    return end_state_of(cluster), areas_of(data), data[ALIGN_BYTES:]


REHEARSAL = Rehearsal("recover-lockspace", broken, end_state=end_state, mutating=CHANGING)
