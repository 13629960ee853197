"""A simulated cluster with its files and its door, as a whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ha.simulator.cluster import Cluster
from ha.simulator.deployed import furnish
from ha.simulator.door.folder import Folder
from ha.simulator.door.pace import Stepped
from ha.simulator.door.server import COMMANDS, Door
from ha.simulator.site import Plan

HOST_KIND = "host"
ONLY_HERE = ("hostname",)


@dataclass(frozen=True, slots=True)
class Served:
    """The parts of it."""

    cluster: Cluster
    folder: Folder
    pace: Stepped
    door: Door


def make_cluster(plan: Plan, path: Path) -> tuple[Cluster, Folder]:
    """Return a new cluster on files in an empty folder."""
    folder = Folder(path)
    cluster = Cluster(plan, folder.make_shared(plan.hosts))
    folder.make_commands(HOST_KIND, [*COMMANDS, *ONLY_HERE])
    for host in cluster.hosts:
        folder.make_machine(host.name)
        furnish(host, folder.machine(host.name))
    return cluster, folder


@contextmanager
def stepped(plan: Plan, path: Path) -> Iterator[Served]:
    """Serve a cluster whose time passes while somebody waits for it."""
    cluster, folder = make_cluster(plan, path)
    pace = Stepped(cluster)
    with cluster, Door(cluster, folder, pace) as door:
        yield Served(cluster, folder, pace, door)
