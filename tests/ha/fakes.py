"""A host's world in memory, for the agent's tests."""

import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ha.config import AgentConf, BrokerConf, HostedEngineConf, Paths, Settings
from ha.core.record import GLOBAL_BLOCK, Record, encode_global, encode_record, judge_block
from ha.core.sighting import VmSighting, VmState
from ha.env.live_hosts import LiveHosts
from ha.env.ports import BrokerError, BrokerUnreachable, EnvError, Report
from ha.execute import ConfUnavailable

HOST_ID = 1
DOWN = {"vm": "down", "health": "bad", "detail": "unknown", "reason": "vm not running on this host"}
UP = {"vm": "up", "health": "good", "detail": "Up"}
UNEXPECTED = {"vm": "down_unexpected", "health": "bad", "detail": "Down", "reason": "bad vm status"}


class FakeClock:
    """Time passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 1_700_000_000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeBell:
    """Runs what the test planned for each wait; stops after the last."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.plan: list[Callable[[], None]] = []
        self.waits: list[float] = []
        self.rung = 0
        self.stopped = False
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        self.rung += 1
        self._rings.put(None)

    def wait_for_ring(self) -> None:
        """Wait in real time for another thread to ring."""
        self._rings.get(timeout=10)

    def stop(self) -> None:
        self.stopped = True

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.clock.sleep(seconds)
        if not self.plan:
            self.stop()
            return True
        self.plan.pop(0)()
        return False


@dataclass
class FakeBroker:
    """A broker with a whiteboard of its own; `trouble` is raised by all its methods."""

    host_id: int = HOST_ID
    blocks: dict[int, bytes] = field(default_factory=dict)
    values: dict[str, object] = field(
        default_factory=lambda: {
            "network": 1.0,
            "bridge": True,
            "mem-free": 8192.0,
            "cpu-load": 0.1,
            "engine-health": DOWN,
            "storage-domain": True,
        }
    )
    locked: bool = False
    joining: float = 0.0  # how many calls it takes to lock
    trouble: EnvError | None = None
    live: tuple[int, ...] = ()
    dead: tuple[int, ...] = ()
    reports: list[Report | None] = field(default_factory=list)
    released: int = 0
    notes: list[str] = field(default_factory=list)
    since: list[float] = field(default_factory=list)
    reads: list[Sequence[int] | None] = field(default_factory=list)
    published: list[Record] = field(default_factory=list)
    watched: queue.SimpleQueue[tuple[int, str]] = field(default_factory=queue.SimpleQueue)
    marks: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def monitors(self) -> Mapping[str, object]:
        self._check()
        return dict(self.values)

    def set_live_hosts(
        self, host_ids: Sequence[int], report: Report | None = None, dead_ids: Sequence[int] = ()
    ) -> None:
        self._check()
        self.live, self.dead = tuple(host_ids), tuple(dead_ids)
        self.reports.append(report)

    def live_hosts(self) -> LiveHosts:
        self._check()
        return LiveHosts(self.live, 0.0, dead_ids=self.dead)

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        self._check()
        self.notes.append(f"{event} {detail}")
        if since is not None:
            self.since.append(since)

    def watch_engine(self, host_id: int, mark: str, seconds: float) -> str:
        del seconds
        self.watched.put((host_id, mark))
        return self.marks.get()

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        self._check()
        self.reads.append(host_ids)
        wanted = self.blocks if host_ids is None else host_ids
        return {number: self.blocks[number] for number in wanted if number in self.blocks}

    def write_block(self, block: bytes) -> None:
        self._check()
        if not self.locked:
            raise BrokerError("not_locked", "the host id is not locked")
        self.blocks[self.host_id] = block
        record = judge_block(self.host_id, block).record
        assert isinstance(record, Record)
        self.published.append(record)

    def set_global_maintenance(self, on: bool) -> None:
        self._check()
        self.blocks[GLOBAL_BLOCK] = encode_global(on)

    def lock_host_id(self) -> None:
        self._check()
        if self.joining > 0:
            self.joining -= 1
            raise BrokerError("joining", "the lease is being taken")
        self.locked = True

    def release_host_id(self) -> None:
        self._check()
        self.locked = False
        self.released += 1

    def host_id_locked(self) -> bool:
        self._check()
        return self.locked

    def put_peer(self, host_id: int, timestamp: int, *, score: int = 3400, **engine: str) -> None:
        """Write another host's record."""
        words = {**DOWN, **engine}
        status = "{" + ", ".join(f'"{key}": "{value}"' for key, value in words.items()) + "}"
        record = Record(host_id, timestamp, score, status, f"h{host_id}")
        self.blocks[host_id] = encode_record(record)


class FakeEngineVm:
    """An engine VM that does at once what it is told, or raises the `trouble` of that call."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.trouble: dict[str, EnvError] = {}

    def _do(self, call: str) -> None:
        self.calls.append(call)
        if trouble := self.trouble.get(call.split(maxsplit=1)[0]):
            raise trouble

    def start(self, xml: str, *, paused: bool = False) -> None:
        assert not paused, "the agent starts no VM that it would have to resume"
        self._do(f"start {xml}")

    def shutdown(self) -> None:
        self._do("shutdown")

    def power_off(self, *, only_a_start: bool = False) -> None:
        self._do("power_off only_a_start" if only_a_start else "power_off")

    def sighting(self) -> VmSighting:
        return VmSighting(VmState.MISSING)

    def watch(self, callback: Callable[[VmSighting], None]) -> None:
        self.callback = callback


class FakeFiles:
    """The files that an agent reads."""

    def __init__(self) -> None:
        self.maintenance = False
        self.xml: str | None = "<domain/>"

    def local_maintenance(self) -> bool:
        return self.maintenance

    def refresh(self) -> None:
        self.vm_xml()

    def vm_xml(self) -> str:
        if self.xml is None:
            raise ConfUnavailable("there is no vm.conf")
        return self.xml

    def vm_memory_mib(self) -> float:
        return 512.0


UNREACHABLE = BrokerUnreachable("no broker")


def settings_for(root: Path, host_id: int = HOST_ID, *, configured: bool = True) -> Settings:
    """What a deployed host is told."""
    uuids = (
        *("vmid", "sd_uuid", "metadata_image_uuid", "metadata_volume_uuid", "lockspace_image_uuid"),
        *("lockspace_volume_uuid", "conf_image_uuid", "conf_volume_uuid", "vm_disk_id"),
        *("vm_disk_vol_id", "connection_uuid"),
    )
    host = HostedEngineConf(
        host_id=host_id,
        fqdn="engine.lab",
        storage="nfs.lab:/he",
        domain_type="nfs",
        gateway="10.0.0.1",
        bridge="ovirtmgmt",
        network_test="none",
        tcp_t_address="",
        tcp_t_port=None,
        sp_uuid="00000000-0000-0000-0000-000000000000",
        console="vnc",
        mnt_options="",
        configured=configured,
        values={},
        **dict.fromkeys(uuids, "11111111-1111-1111-1111-111111111111"),
    )
    return Settings(Paths(root), host, AgentConf(), BrokerConf())
