"""local-maintenance: of the host that runs the engine VM, which libvirt migrates."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.env import use_world
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import add_vm, by_libvirt
from tests.scenario import MUTATING, Scenario


@contextmanager
def at_work(folder: Path) -> Iterator[FakeCluster]:
    with fake_cluster(folder, bad={}) as cluster:
        add_vm(cluster)
        with use_world(by_libvirt(cluster)):
            yield cluster


SCENARIO = Scenario(
    "local-maintenance", at_work, {"host": "h1"}, mutating=(*MUTATING, "virsh migrate")
)
