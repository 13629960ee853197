"""end-local-maintenance: of a host that a run has put there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.local_maintenance import maintain_host
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import add_vm
from tests.rehearsal import Rehearsal


@contextmanager
def maintained(folder: Path) -> Iterator[FakeCluster]:
    with fake_cluster(folder, bad={}) as cluster:
        add_vm(cluster)
        maintain_host.fn("lab", "h2", acknowledge_no_failover=True)
        for host in cluster.hosts.values():
            host.set("calls", "")
        yield cluster


REHEARSAL = Rehearsal("end-local-maintenance", maintained, {"host": "h2"})
