"""A simulated cluster with its files and its door, as a whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ha.simulator.cluster import Cluster
from ha.simulator.deployed import furnish
from ha.simulator.door.desk import Desk
from ha.simulator.door.folder import Folder
from ha.simulator.door.machines import COMMANDS, ENGINE
from ha.simulator.door.pace import Stepped
from ha.simulator.door.server import Door
from ha.simulator.site import Plan

# Answered without the simulator.
ALSO = ("hostname",)


@dataclass(frozen=True, slots=True)
class Served:
    """The parts of it."""

    cluster: Cluster
    folder: Folder
    pace: Stepped
    desk: Desk


def make_cluster(plan: Plan, path: Path) -> tuple[Cluster, Folder]:
    """Return a new cluster on files in an empty folder."""
    folder = Folder(path)
    cluster = Cluster(plan, folder.make_shared(plan.hosts))
    for kind, commands in COMMANDS.items():
        folder.make_commands(kind, [*commands, *ALSO])
    for host in cluster.hosts:
        folder.make_machine(host.name)
        furnish(host, folder.machine(host.name))
    folder.machine(ENGINE).mkdir()
    return cluster, folder


@contextmanager
def stepped(plan: Plan, path: Path) -> Iterator[Served]:
    """Serve a cluster whose time passes while somebody waits for it."""
    cluster, folder = make_cluster(plan, path)
    pace = Stepped(cluster)
    desk = Desk(cluster, folder, pace)
    with cluster, Door(folder, desk):
        yield Served(cluster, folder, pace, desk)
