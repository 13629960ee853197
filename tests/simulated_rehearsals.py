"""The runbooks that are rehearsed on a simulated cluster: how each is prepared, and judged.

Answers at gates, and whether it changes anything, are as its other rehearsal has them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.enter_global_maintenance import enter_maintenance
from ha.simulator.door.systemctl import state_of
from tasks.runs import entered_run
from tasks.whiteboard_table import block_rows
from tests.fake_cluster import TOO_NEW
from tests.rehearsal import Rehearsal, rehearsals
from tests.simulated_cluster import SimulatedCluster, simulated_cluster

SETTLED_SECONDS = 90.0
FAKE = rehearsals()

Parameters = Callable[[SimulatedCluster], Mapping[str, Any]]


def nothing(_cluster: SimulatedCluster) -> None:
    """A cluster that is well is what the runbook is for."""


@dataclass(frozen=True)
class SimulatedRehearsal:
    """How a runbook is prepared on a simulated cluster."""

    runbook: str
    prepare: Callable[[SimulatedCluster], None] = nothing
    parameters: Parameters = lambda _cluster: {}

    @property
    def fake(self) -> Rehearsal:
        return FAKE[self.runbook]

    @contextmanager
    def prepared(self, folder: Path) -> Iterator[SimulatedCluster]:
        with simulated_cluster(folder) as cluster:
            self.prepare(cluster)
            yield cluster

    def parameters_for(self, cluster: SimulatedCluster) -> dict[str, Any]:
        return {"cluster": "lab", **self.parameters(cluster)}

    def attempt(self, parameters: Mapping[str, Any], run_id: str) -> None:
        """Enter the run, or enter it again, and execute it."""
        body = self.fake.procedure.__wrapped__  # type: ignore[attr-defined]
        given, mutates = dict(parameters), self.fake.mutates
        with entered_run(self.runbook, parameters=given, run_id=run_id, mutates=mutates):
            body(**parameters)


def end_state(cluster: SimulatedCluster) -> object:
    """Return what matters of a cluster a while after a run."""
    cluster.served.pace.sleep(SETTLED_SECONDS)
    hosts = cluster.cluster.hosts
    units = {h.name: (state_of(h.agent), state_of(h.broker), h.version) for h in hosts}
    parked = [host.name for host in hosts if host.read_local_maintenance()]
    rows = block_rows(cluster.file.read_bytes())
    blocks = [(row.host_id, row.state, row.vm, row.score) for row in rows]
    flag = cluster.cluster.global_maintenance
    return units, parked, cluster.engine_host, cluster.cluster.serves, flag, blocks


def commands(cluster: SimulatedCluster) -> Counter[str]:
    """Return how often each changing `hosted-engine` command was given, by host."""
    return Counter(
        each for each in cluster.commands() if "--set-maintenance" in each or "--vm-" in each
    )


def too_new(cluster: SimulatedCluster) -> None:
    cluster.put(52, TOO_NEW)


def in_global_maintenance(_cluster: SimulatedCluster) -> None:
    enter_maintenance.fn("lab", "ticket 7")


def broken_lockspace(cluster: SimulatedCluster) -> None:
    """Agents end when their leases are lost, and start in vain."""
    cluster.cluster.do("corrupt-lockspace")
    cluster.served.pace.sleep(120)


SIMULATED = {
    each.runbook: each
    for each in (
        SimulatedRehearsal("enter-global-maintenance", parameters=lambda _: {"reason": "ticket 7"}),
        SimulatedRehearsal("leave-global-maintenance", in_global_maintenance),
        SimulatedRehearsal(
            "local-maintenance", parameters=lambda cluster: {"host": cluster.engine_host}
        ),
        SimulatedRehearsal("metadata-too-new", too_new),
        SimulatedRehearsal("recover-lockspace", broken_lockspace),
        SimulatedRehearsal("upgrade"),
    )
}
