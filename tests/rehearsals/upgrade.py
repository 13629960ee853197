"""upgrade: engine and two hosts from version 1 to 2, the engine VM moved on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runbooks.catalogue import catalogue
from tasks.env import use_world
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_packages import add_packages, engine_of
from tests.fake_vm import YES
from tests.rehearsal import MUTATING, Rehearsal, end_state_of

# What the looks ask is no change.
CHANGING = tuple(start for start in MUTATING if start not in ("dnf", "yum"))
UPDATES = ("dnf -y", "engine-setup", "engine-backup", "virsh migrate")


@contextmanager
def prepared(folder: Path) -> Iterator[FakeCluster]:
    with fake_cluster(folder, ids=(1, 2), bad={}) as cluster, use_world(add_packages(cluster)):
        yield cluster


def end_state(cluster: FakeCluster) -> object:
    machines = [*cluster.hosts.values(), engine_of(cluster)]
    packages = [(each.name, sorted(each.get("installed").splitlines())) for each in machines]
    versions = [host.get("version") for host in cluster.hosts.values()]
    return packages, versions, end_state_of(cluster)


GATES = [gate.name for gate in catalogue()["upgrade"].gates]
REHEARSAL = Rehearsal(
    "upgrade",
    prepared,
    answers=dict.fromkeys([*GATES, "approve_cluster_level"], YES),
    end_state=end_state,
    mutating=(*CHANGING, *UPDATES),
)
