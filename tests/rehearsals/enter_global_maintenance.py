"""enter-global-maintenance: on three hosts at work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import add_vm
from tests.rehearsal import Rehearsal


@contextmanager
def at_work(folder: Path) -> Iterator[FakeCluster]:
    with fake_cluster(folder, bad={}) as cluster:
        add_vm(cluster)
        yield cluster


REHEARSAL = Rehearsal("enter-global-maintenance", at_work, {"reason": "ticket 7"})
