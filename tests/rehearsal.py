"""One rehearsal a runbook: how the tests that hold for every runbook prepare and judge it.

Whoever adds a runbook to the catalogue adds `tests/rehearsals/<its flow's module>.py` with

    REHEARSAL = Rehearsal("enter-global-maintenance", prepare, {"reason": "ticket 7"})

  runbook     its id
  prepare     a context manager that takes a folder and yields a FakeCluster in force, ready for
              the run; what must be there before (an earlier run, say) it brings about itself
  parameters  of the flow, beside `cluster`; or a function of the prepared cluster
  answers     by gate name, with the defaults of its form, as a plan takes them; if none: APPROVED,
              its target only at a gate that the entry has as A3
  end_state   what of the cluster must be the same whether or not the run was killed on its way:
              no timestamps, no ids of runs; `end_state_of` for most
  mutating    beginnings of the commands (as FakeHost.calls has them) that change something:
              these must be given as often as without the kill
  mutates     as the flow's `recorded_run` says

and these tests then hold it to its plan, and kill it everywhere:
  tests/flows/test_plan_and_run.py       the run sends what the plan and the paper say
  tests/flows/test_killed_everywhere.py  killed at every entry of the journal, it ends the same
"""

import importlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.deployments import load_flow
from ha.core.record import BLOCK_BYTES
from runbooks.catalogue import Entry, catalogue
from tasks.runs import entered_run
from tasks.whiteboard_table import block_rows
from tests.fake_cluster import APPROVED, FakeCluster

REHEARSALS = Path(__file__).parent / "rehearsals"
UNITS = ("ovirt-ha-agent", "ovirt-ha-broker")
MUTATING = (
    "systemctl start",
    "systemctl stop",
    "systemctl restart",
    "hosted-engine --set-maintenance",
    "hosted-engine --reinitialize-lockspace",
    "hosted-engine --vm-start",
    "hosted-engine --vm-shutdown",
    "hosted-engine --vm-poweroff",
    "dnf",
    "yum",
)

Parameters = Mapping[str, Any] | Callable[[FakeCluster], Mapping[str, Any]]


def end_state_of(cluster: FakeCluster) -> object:
    """Return what matters of a cluster: services, the VM, maintenance, and the blocks by kind."""
    services = {h.name: [h.get(unit) for unit in UNITS] for h in cluster.hosts.values()}
    vm = {host.name: host.get("vm") for host in cluster.hosts.values()}
    rows = block_rows(cluster.file.read_bytes()[: 2001 * BLOCK_BYTES])
    blocks = [(row.host_id, row.state, row.vm) for row in rows]
    return services, vm, cluster.block(0)[:13], blocks, cluster.file.stat().st_size


@dataclass(frozen=True)
class Rehearsal:
    """How a runbook is prepared and judged."""

    runbook: str
    prepare: Callable[[Path], AbstractContextManager[FakeCluster]]
    parameters: Parameters = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    end_state: Callable[[FakeCluster], object] = end_state_of
    mutating: tuple[str, ...] = MUTATING
    mutates: bool = True

    @property
    def entry(self) -> Entry:
        return catalogue()[self.runbook]

    @property
    def procedure(self) -> Callable[..., object]:
        """Return the flow's function, which opens the run by itself."""
        return load_flow(self.entry).fn

    def parameters_for(self, cluster: FakeCluster) -> dict[str, Any]:
        given = self.parameters(cluster) if callable(self.parameters) else self.parameters
        return {"cluster": "lab", **given}

    def answer(self, gate: str) -> Mapping[str, Any]:
        if gate in self.answers:
            return self.answers[gate]
        typed = any(part.name == gate and part.risk == "A3" for part in self.entry.gates)
        return APPROVED if typed else {k: v for k, v in APPROVED.items() if k != "target"}

    def attempt(self, cluster: FakeCluster, run_id: str) -> None:
        """Enter the run, or enter it again, and execute it."""
        parameters = self.parameters_for(cluster)
        # Below the decorator that makes a run of it, as only so a test can name the run.
        body = self.procedure.__wrapped__  # type: ignore[attr-defined]
        with entered_run(self.runbook, parameters=parameters, run_id=run_id, mutates=self.mutates):
            body(**parameters)

    def mutations(self, cluster: FakeCluster) -> Counter[str]:
        """Return how often each changing command was given, by host."""
        return Counter(
            f"{host.name}: {line}"
            for host in cluster.hosts.values()
            for line in host.calls()
            if line.startswith(self.mutating)
        )


def rehearsals() -> dict[str, Rehearsal]:
    """Return the rehearsals by runbook."""
    modules = sorted(path.stem for path in REHEARSALS.glob("*.py"))
    found = [importlib.import_module(f"tests.rehearsals.{name}").REHEARSAL for name in modules]
    return {rehearsal.runbook: rehearsal for rehearsal in found}
