"""A broker's world in memory. It is held to the same contract tests as the real adapters."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ha.core.leases import LeaseHolder
from ha.core.record import BLOCK_BYTES, MAX_HOST_ID
from ha.core.sighting import VmSighting, VmState
from ha.core.vm_lease import UNKNOWN_LEASE, VmLease
from ha.env.ports import BrokerEnv, HostIdTaken, LockspaceFailed, WhiteboardFailed
from ha.env.threads import HostThreads
from tests.ha.fakes import FakeClock


class MemoryWhiteboard:
    """Blocks in a dictionary; `trouble` is raised by all its methods."""

    def __init__(self) -> None:
        self.blocks: dict[int, bytes] = {}
        self.trouble: WhiteboardFailed | None = None
        self.lose: list[WhiteboardFailed] = []
        self.reads: list[Sequence[int] | None] = []

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        if self.trouble:
            raise self.trouble
        self.reads.append(host_ids)
        wanted = sorted(self.blocks) if host_ids is None else [_checked(i) for i in host_ids]
        found = {host_id: self.blocks.get(host_id, b"\0") for host_id in wanted}
        return {host_id: block for host_id, block in found.items() if block[0]}

    def write_block(self, host_id: int, block: bytes) -> None:
        if len(block) != BLOCK_BYTES:
            raise ValueError(f"a block has {BLOCK_BYTES} bytes, not {len(block)}")
        _checked(host_id)
        if self.trouble:
            raise self.trouble
        if self.lose:
            raise self.lose.pop(0)
        self.blocks[host_id] = block


def _checked(host_id: int) -> int:
    if not 0 <= host_id <= MAX_HOST_ID:
        raise ValueError(f"host id {host_id} is outside 0..{MAX_HOST_ID}")
    return host_id


class MemoryLockspace:
    """One host's view of a lockspace that nobody else uses.

    A join waits until it is `free`; `trouble` is raised by the next joins, `busy` by the leaves.
    """

    def __init__(self) -> None:
        self.host_id: int | None = None
        self.in_progress = False
        self.joins = 0
        self.free = threading.Event()
        self.free.set()
        self.trouble: list[LockspaceFailed] = []
        self.busy: list[LockspaceFailed] = []

    def join(self, host_id: int) -> None:
        self.joins += 1
        assert self.free.wait(10)
        if self.trouble:
            raise self.trouble.pop(0)
        if self.host_id not in (None, host_id):
            raise HostIdTaken(f"host id {host_id}: this host holds {self.host_id}")
        self.host_id = host_id

    def leave(self, host_id: int) -> None:
        if self.busy:
            raise self.busy.pop(0)
        if self.host_id == host_id:
            self.host_id = None

    def held(self, host_id: int) -> bool | None:
        return None if self.in_progress else self.host_id == host_id

    def holders(self) -> Sequence[LeaseHolder]:
        return () if self.host_id is None else (LeaseHolder(self.host_id, "live", 1, 1),)


class MemoryVmLease:
    """A lease that is as the test says; a look waits while it `hangs`."""

    def __init__(self) -> None:
        self.value = UNKNOWN_LEASE
        self.hangs: threading.Event | None = None

    def look(self) -> VmLease:
        if self.hangs:
            self.hangs.wait()
        return self.value


class ScriptedVm:
    """A VM that is seen as the test says."""

    def __init__(self) -> None:
        self.seen = VmSighting(VmState.MISSING)
        self.callbacks: list[Callable[[VmSighting], None]] = []

    def change(self, seen: VmSighting) -> None:
        """Be seen so from now on, and tell."""
        self.seen = seen
        for callback in self.callbacks:
            callback(seen)

    def start(self, xml: str) -> None:
        self.change(VmSighting(VmState.UP))

    def shutdown(self) -> None:
        self.change(VmSighting(VmState.MISSING))

    def power_off(self, *, only_a_start: bool = False) -> None:
        del only_a_start
        self.change(VmSighting(VmState.MISSING))

    def sighting(self) -> VmSighting:
        return self.seen

    def watch(self, callback: Callable[[VmSighting], None]) -> None:
        self.callbacks.append(callback)


@dataclass
class ScriptedProbes:
    """Probes that give what the test says; `page` may block."""

    network_share: float = 1.0
    bridge: bool = True
    memory: float | None = 4096.0
    cpu: float | None = 0.25
    page: Callable[[], bool] = lambda: True
    hang: threading.Event | None = None

    def network(self) -> float:
        if self.hang:
            self.hang.wait()
        return self.network_share

    def bridge_up(self) -> bool:
        return self.bridge

    def memory_free_mib(self) -> float | None:
        return self.memory

    def cpu_load_without_engine(self) -> float | None:
        return self.cpu

    def health_page_ok(self) -> bool:
        return self.page()


@dataclass
class BrokerWorld:
    """All of it, with the pieces in reach of a test."""

    clock: FakeClock = field(default_factory=FakeClock)
    whiteboard: MemoryWhiteboard = field(default_factory=MemoryWhiteboard)
    lockspace: MemoryLockspace = field(default_factory=MemoryLockspace)
    vm_lockspace: MemoryLockspace = field(default_factory=MemoryLockspace)
    vm: ScriptedVm = field(default_factory=ScriptedVm)
    probes: ScriptedProbes = field(default_factory=ScriptedProbes)
    notes: list[str] = field(default_factory=list)
    since: list[float | None] = field(default_factory=list)
    domain: MemoryWhiteboard = field(default_factory=MemoryWhiteboard)
    lease: MemoryVmLease = field(default_factory=MemoryVmLease)

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Keep the note."""
        self.notes.append(f"{event} {detail}")
        self.since.append(since)

    @property
    def env(self) -> BrokerEnv:
        """The ports."""
        return BrokerEnv(
            clock=self.clock,
            threads=HostThreads(),
            whiteboard=self.whiteboard,
            lockspace=self.lockspace,
            vm_lockspace=self.vm_lockspace,
            vm_lease=self.lease,
            engine_vm=self.vm,
            probes=self.probes,
            notifier=self,
            read_domain=lambda: self.domain.read_blocks([0]),
        )
