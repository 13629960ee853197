"""leave-global-maintenance: entered by a run, the engine VM down since, and asked about."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.enter_global_maintenance import enter_maintenance
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import YES, add_vm
from tests.rehearsal import Rehearsal


@contextmanager
def down_and_in_maintenance(folder: Path) -> Iterator[FakeCluster]:
    with fake_cluster(folder, bad={}) as cluster:
        add_vm(cluster)
        enter_maintenance.fn("lab", "ticket 7")
        cluster.hosts["h1"].run(("hosted-engine", "--vm-shutdown"))
        cluster.world.clock.sleep(20)
        cluster.ha_starts_engine = True
        for host in cluster.hosts.values():
            host.set("calls", "")
        yield cluster


REHEARSAL = Rehearsal(
    "leave-global-maintenance",
    down_and_in_maintenance,
    answers={"approve_engine_start": YES},
)
