"""A gated run for test_gates.py: one attempt of a flow run of a deployment."""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow

from tasks import gates
from tasks.env import HostUnreachable, Ran, SystemClock, World, use_world
from tasks.gates import TargetForm, gate
from tasks.inventory import Inventory
from tasks.journal import Journal
from tasks.recorded import Outcome, change
from tasks.runs import recorded_run

INVENTORY = """
[clusters.lab]
ssh = { key_file = "k", known_hosts = "h" }
hosts = [{ name = "h1", address = "127.0.0.1", host_id = 1 }]
"""


@change
def write(cluster: str, what: str, log: str) -> Outcome:
    with Path(log).open("a", encoding="utf-8") as lines:
        lines.write(f"{what}\n")
    return Outcome.CHANGED


@flow(name="gated")
@recorded_run("gated")
def gated(cluster: str, log: str) -> str:
    """Write, ask, write, ask, write."""
    write.named("before")(cluster, "before", log)
    first = gate(
        "destroy", evidence="## Zero?\n\n| a | b |\n|-|-|\n| 1 | 2 |", risk="A3",
        form=TargetForm, target="h1:/dev/x",
    )  # fmt: skip
    write.named("zero")(cluster, f"destroy, said {first.approver}", log)
    gate("leave", evidence="Leave?", risk="A1")
    write.named("after")(cluster, "after", log)
    return first.reason


@dataclass(frozen=True)
class NoShell:
    """The shell of a host that is not there."""

    host: str

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_seconds: float = 30.0
    ) -> Ran:
        raise HostUnreachable(f"{self.host}: planted")


def world_of(home: Path, gate_expires_seconds: int) -> World:
    return World(
        shells=lambda cluster, host: NoShell(host),
        journal=Journal(f"sqlite:///{home / 'journal.db'}"),
        inventory=Inventory.parse(INVENTORY, "inventory"),
        clock=SystemClock(),
        gate_expires_seconds=gate_expires_seconds,
    )


def die_instead_of_recording() -> None:
    """Make this process die with the answer read from Prefect and not yet in the journal."""
    gates.record = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)


def attempt(run_id: str, home: Path, gate_expires_seconds: int = 600) -> None:
    """Execute the flow run until it ends or is suspended (Prefect's Pause)."""
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(run_id))
    with use_world(world_of(home, gate_expires_seconds)):
        run_flow(gated, flow_run=flow_run, parameters=flow_run.parameters)


if __name__ == "__main__":
    die_instead_of_recording()
    attempt(sys.argv[1], Path(sys.argv[2]))
