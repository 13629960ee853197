"""A simulated cluster under the flows: the product's agents and command, in virtual time.

The flows' clock is the cluster's: what they wait for passes there, and nothing waits here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ha.core.record import BLOCK_BYTES
from ha.simulator.cluster import Cluster
from ha.simulator.door.served import Served, stepped
from ha.simulator.door.serving import READY_SECONDS, inventory_of
from ha.simulator.site import Plan
from tasks.env import World, use_world
from tasks.inventory import Inventory
from tasks.journal import Journal
from tasks.simulated import SimulatedShell

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class SimulatedClock:
    """The flows' clock: their waits are the cluster's time."""

    served: Served

    def monotonic(self) -> float:
        return self.served.cluster.now

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.served.cluster.now)

    def sleep(self, seconds: float) -> None:
        self.served.pace.sleep(seconds)


@dataclass
class SimulatedCluster:
    """The cluster, and the world in which flows work on it."""

    folder: Path
    served: Served
    world: World
    answers: list[Mapping[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def cluster(self) -> Cluster:
        return self.served.cluster

    @property
    def file(self) -> Path:
        """The whiteboard."""
        domain = self.served.folder.domain
        return domain.place(domain.metadata)

    @property
    def engine_host(self) -> str:
        """The host that runs the engine VM; empty if none does."""
        return next((host.name for host in self.cluster.hosts if host.executes_vm), "")

    def put(self, number: int, block: bytes) -> None:
        """Write a block past all hosts."""
        with self.file.open("r+b") as out:
            out.seek(number * BLOCK_BYTES)
            out.write(block)

    def states(self) -> dict[str, str]:
        """What each agent said last that it is in."""
        lines = [line for line in self.cluster.log if line.kind == "state"]
        return {line.host: line.text.split()[0] for line in lines}

    def commands(self) -> list[str]:
        """All `hosted-engine` commands so far, by host."""
        return [
            f"{line.host}: {line.text}"
            for line in self.cluster.log
            if line.kind == "command" and line.text.startswith("hosted-engine")
        ]

    def ask(self, gate: str, shown: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((gate, shown["evidence"]))
        return self.answers.pop(0)


@contextmanager
def simulated_cluster(folder: Path, plan: Plan | None = None) -> Iterator[SimulatedCluster]:
    """Put a cluster in force whose engine is up; at the end all that must always hold has held."""
    place = folder / "cluster"
    place.mkdir()
    with stepped(plan or Plan(), place) as served:
        served.pace.sleep(READY_SECONDS)
        world = World(
            shells=lambda cluster, name: SimulatedShell(place, name),
            journal=Journal(f"sqlite:///{folder / 'journal.db'}"),
            inventory=Inventory.parse(inventory_of(served.cluster, place), "inventory.toml"),
            clock=SimulatedClock(served),
            step_store=Path("/var/lib/hosted-engine-runbooks/steps"),
            backups=folder / "control-node/backups",
        )
        made = SimulatedCluster(folder, served, world)
        made.world = replace(world, ask=made.ask)
        with use_world(made.world):
            yield made
        assert served.desk.failures == []
        assert served.cluster.invariants.broken == []
