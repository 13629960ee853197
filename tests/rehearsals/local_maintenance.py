"""local-maintenance: of the host that runs the engine VM, which libvirt migrates."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.env import use_world
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import add_vm, by_libvirt
from tests.rehearsal import MUTATING, Rehearsal


@contextmanager
def at_work(folder: Path) -> Iterator[FakeCluster]:
    with fake_cluster(folder, bad={}) as cluster:
        add_vm(cluster)
        with use_world(by_libvirt(cluster)):
            yield cluster


REHEARSAL = Rehearsal(
    "local-maintenance", at_work, {"host": "h1"}, mutating=(*MUTATING, "virsh migrate")
)
