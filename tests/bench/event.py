"""From the end of the engine VM on one host to its start on another: real agents, threads, storage.

Four hosts in one process share a whiteboard on a file; each has its broker and agent. The VM and
its lease are ours, so that what is measured is the product's part: noticing, deciding, acting.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ha.agent import Agent
from ha.agent_world import World
from ha.anomaly_memory import WatchFile
from ha.bell import QueueBell
from ha.broker import BrokerService
from ha.config import AgentConf, Paths
from ha.core.record import RANGE_BYTES
from ha.core.sighting import StopReason, VmSighting, VmState
from ha.core.timing import Timing
from ha.core.vm_lease import FREE_LEASE, LeaseState, VmLease
from ha.env.clock import HostClock
from ha.env.ports import BrokerEnv, Env, VmLocked
from ha.env.threads import HostThreads
from ha.env.whiteboard import StorageWhiteboard
from ha.recorder import FlightRecorder
from tests.bench.daemons import Joined, until
from tests.bench.table import Row
from tests.ha.broker_world import ScriptedProbes, ScriptedVm
from tests.ha.fakes import FakeFiles, settings_for

LOOP_SECONDS = 5.0
MS = 1000


class SharedEngine:
    """The engine VM of the cluster and its lease."""

    def __init__(self) -> None:
        self.owner: int | None = None
        self.starts: list[tuple[int, float]] = []
        self.taking = threading.Lock()

    def look(self) -> VmLease:
        return FREE_LEASE if self.owner is None else VmLease(LeaseState.LIVE, self.owner)


class HostVm(ScriptedVm):
    """The engine VM on one host."""

    def __init__(self, engine: SharedEngine, host_id: int) -> None:
        super().__init__()
        self._engine, self._host_id = engine, host_id

    def start(self, xml: str) -> None:
        self._engine.starts.append((self._host_id, time.monotonic()))
        with self._engine.taking:
            if self._engine.owner is not None:
                raise VmLocked("another host holds the lease")
            self._engine.owner = self._host_id
        super().start(xml)

    def die(self) -> float:
        """The emulator is gone, and with it the lease; return when."""
        died_at = time.monotonic()
        self._engine.owner = None
        self.change(VmSighting(VmState.DOWN, StopReason.FAILED))
        return died_at


class Silent:
    """Tells nobody."""

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Be silent."""


def measure(deaths: int = 3, loop_seconds: float = LOOP_SECONDS) -> Iterator[Row]:
    """Yield one row."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench") as folder:
        root = Path(folder)
        (root / "whiteboard").write_bytes(bytes(RANGE_BYTES))
        engine, bells, vms = SharedEngine(), [], {}
        for host_id in range(1, deaths + 2):
            vms[host_id], bell = _host(root, engine, host_id, loop_seconds)
            bells.append(bell)
        taken = []
        for _ in range(deaths):
            until(lambda: engine.owner is not None)
            time.sleep(2 * loop_seconds + 1)  # all hosts see the engine run
            before, owner = len(engine.starts), engine.owner
            assert owner is not None
            died_at = vms[owner].die()
            until(lambda n=before: len(engine.starts) > n)  # type: ignore[misc]
            taken.append(engine.starts[before][1] - died_at)
        for bell in bells:
            bell.stop()
        time.sleep(1.0)
    yield Row(
        "VM's death to start elsewhere",
        "1000 ms",
        f"{statistics.median(taken) * MS:.0f} ms ({min(taken) * MS:.0f}..{max(taken) * MS:.0f})",
        f"{loop_seconds / 2 * MS:.0f} ms and more",
        f"median of {deaths} (least..most) on the wall; beside it: the mean wait for a turn alone,"
        f" here {loop_seconds:g} s apart",
    )


def _host(
    root: Path, engine: SharedEngine, host_id: int, loop_seconds: float
) -> tuple[HostVm, QueueBell]:
    vm, bell, folder = HostVm(engine, host_id), QueueBell(), root / str(host_id)
    folder.mkdir()
    env = _broker_env(root / "whiteboard", engine, vm)
    timing = Timing(
        loop_seconds=loop_seconds,
        host_alive_seconds=3 * loop_seconds,
        full_read_seconds=loop_seconds,
    )
    broker = BrokerService(env, host_id, interval_seconds=loop_seconds)
    broker.start()
    settings = replace(settings_for(folder, host_id), agent=AgentConf(timing=timing))
    agent = Agent(_world(folder, broker, vm, bell), settings)
    threading.Thread(target=agent.run, daemon=True).start()
    return vm, bell


def _broker_env(whiteboard: Path, engine: SharedEngine, vm: HostVm) -> BrokerEnv:
    return BrokerEnv(
        clock=HostClock(),
        threads=HostThreads(),
        whiteboard=StorageWhiteboard(whiteboard),
        lockspace=Joined(),
        vm_lockspace=Joined(),
        vm_lease=engine,
        engine_vm=vm,
        probes=ScriptedProbes(),
        notifier=Silent(),
        read_domain=lambda: {0: b"VERSION=5"},
    )


def _world(folder: Path, broker: BrokerService, vm: HostVm, bell: QueueBell) -> World:
    return World(
        env=Env(HostClock(), HostThreads(), broker, vm),
        files=FakeFiles(),
        bell=bell,
        recorder=FlightRecorder(folder / "turns.jsonl", seed=7),
        anomalies=WatchFile(Paths(folder).anomalies),
        hostname=folder.name,
    )
