"""A fault in the middle of a runbook: the run stops or goes on as its entry says, HA with it.

Then what broke is mended, and the same run is entered again, as Prefect's retry does.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.env import HostUnreachable, NoAnswer, use_world
from tasks.whiteboard_table import BlockRow, block_rows
from tasks.zeroing import WriteWrong
from tests.mortal import MortalJournal, Reaper, mortal_shells
from tests.simulated_cluster import SimulatedCluster
from tests.simulated_rehearsals import SIMULATED, SimulatedRehearsal

pytestmark = pytest.mark.slow

RUN = "r1"
MENDED_SECONDS = 400.0
AGAIN, DONE = "run it again", "it was done"


@dataclass
class Struck:
    """A run that a fault strikes once, at a point of its journal."""

    rehearsal: SimulatedRehearsal
    cluster: SimulatedCluster
    parameters: Mapping[str, Any]
    point: str
    fault: str
    lost: str = AGAIN
    struck: bool = False
    asked: list[str] = field(default_factory=list)

    def strikes(self, point: str) -> bool:
        if point == self.point and not self.struck:
            self.struck = True
            assert self.cluster.served.desk.do(self.fault) == ""
        return False

    def ask(self, gate: str, _shown: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(gate)
        answer = self.rehearsal.fake.answer(gate)
        if not gate.startswith("lost_"):
            return answer
        typed = {"target": "lab"} if self.rehearsal.fake.entry.risk == "A3" else {}
        return {**answer, **typed, "outcome": self.lost}

    def run(self) -> None:
        """Enter the run, or enter it again."""
        reaper = Reaper(self.strikes)
        world = replace(
            self.cluster.world,
            journal=MortalJournal(self.cluster.folder, reaper),
            shells=mortal_shells(self.cluster.world.shells, reaper, Counter()),
            ask=self.ask,
        )
        with use_world(world):
            self.rehearsal.attempt(self.parameters, RUN)
        assert self.struck, f"{self.point} is not passed"

    def mend(self, words: str) -> None:
        assert self.cluster.served.desk.do(words) == ""
        self.cluster.served.pace.sleep(MENDED_SECONDS)

    def units(self) -> set[tuple[bool, bool]]:
        """Whether agent and broker run: each way that there is among the hosts."""
        return {(host.agent.active, host.broker.active) for host in self.cluster.cluster.hosts}

    def parked(self) -> list[str]:
        hosts = self.cluster.cluster.hosts
        return [host.name for host in hosts if host.read_local_maintenance()]

    def rows(self) -> dict[int, BlockRow]:
        return {row.host_id: row for row in block_rows(self.cluster.file.read_bytes())}


@contextmanager
def struck(
    runbook: str, folder: Path, *, at: str, fault: str, lost: str = AGAIN
) -> Iterator[Struck]:
    rehearsal = SIMULATED[runbook]
    with rehearsal.prepared(folder) as cluster:
        yield Struck(rehearsal, cluster, rehearsal.parameters_for(cluster), at, fault, lost)


def test_a_host_dies_while_it_is_upgraded(tmp_path: Path) -> None:
    """At most that host is out of service, HA works, and the run goes on after a person's word."""
    at = f"sent host2 {RUN}.update_packages.1"
    with struck("upgrade", tmp_path, at=at, fault="power-off host2") as run:
        with pytest.raises(HostUnreachable, match="host2"):
            run.run()
        assert run.parked() == ["host2"]
        assert run.cluster.cluster.serves
        assert run.cluster.cluster.global_maintenance is False
        run.mend("power-on host2")
        run.run()
        assert [gate for gate in run.asked if gate.startswith("lost_")] == [
            "lost_update_packages_1_host2_1"
        ]
        assert {host.version for host in run.cluster.cluster.hosts} == {"2.0-1"}
        assert run.parked() == []
        assert run.cluster.cluster.serves


def test_the_host_of_the_engine_dies_while_its_vm_is_moved(tmp_path: Path) -> None:
    """HA starts the VM elsewhere, and what became of the move is a person's to say."""
    at = f"sent host3 {RUN}.migrate_engine_vm.to-host1"
    with struck("local-maintenance", tmp_path, at=at, fault="power-off host3") as run:
        with pytest.raises(HostUnreachable, match="host3"):
            run.run()
        assert run.parked() == [], "before enter_local_maintenance nothing else has been changed"
        run.mend("power-on host3")
        assert run.cluster.engine_host in ("host1", "host2")
        assert run.cluster.cluster.serves


def test_a_host_loses_its_storage_at_the_gate(tmp_path: Path) -> None:
    """Nothing is written; all services are stopped, in global maintenance, as the entry says."""
    at = "after gate approve_write decision"
    with struck("metadata-too-new", tmp_path, at=at, fault="storage-lost host3") as run:
        with pytest.raises(NoAnswer, match="host3"):
            run.run()
        assert run.units() == {(False, False)}
        assert run.rows()[52].state == "", "the bad block is as it was"
        assert run.cluster.cluster.global_maintenance is True
        run.mend("storage-back host3")
        run.run()
        assert 52 not in run.rows()
        run.cluster.served.pace.sleep(MENDED_SECONDS)
        assert run.cluster.cluster.serves, "HA has started the VM that the storage cost its life"


def test_the_host_that_writes_dies_and_a_false_word_is_found_out(tmp_path: Path) -> None:
    """The write is proved by another host, whatever a person says of it."""
    at = f"sent host1 {RUN}.write_zeros"
    words = {"fault": "power-off host1", "lost": DONE}
    with struck("metadata-too-new", tmp_path, at=at, **words) as run:
        with pytest.raises(HostUnreachable, match="host1"):
            run.run()
        assert run.cluster.engine_host == "host3", "the engine VM keeps running"
        assert run.cluster.cluster.serves
        run.mend("power-on host1")
        assert set(run.cluster.states().values()) >= {"GlobalMaintenance"}
        with pytest.raises(WriteWrong, match="block"):
            run.run()
        assert run.cluster.cluster.global_maintenance is True
        assert run.cluster.cluster.serves


@pytest.mark.parametrize(
    ("runbook", "at", "fault"),
    [
        (
            "enter-global-maintenance",
            "before change enter_global_maintenance intent",
            "kill-broker host1",
        ),
        ("metadata-too-new", "after change start_host@host2 outcome", "kill-agent host2"),
    ],
)
def test_a_daemon_dies_and_the_run_gets_through(
    runbook: str, at: str, fault: str, tmp_path: Path
) -> None:
    with struck(runbook, tmp_path, at=at, fault=fault) as run:
        run.run()
        run.cluster.served.pace.sleep(MENDED_SECONDS)
        assert run.units() == {(True, True)}
        assert run.cluster.cluster.serves
