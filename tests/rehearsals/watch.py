"""watch: one block that cannot be read; events need a server and are left out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from tests.fake_cluster import GARBAGE, FakeCluster, fake_cluster
from tests.fake_lockspace import FakeLockspace
from tests.rehearsal import Rehearsal


@contextmanager
def watched(folder: Path) -> Iterator[FakeCluster]:
    with (
        fake_cluster(folder, bad={52: GARBAGE}) as cluster,
        mock.patch("tasks.watch_anomalies.emit_event"),
    ):
        FakeLockspace(cluster)
        yield cluster


REHEARSAL = Rehearsal("watch", watched, mutates=False)
