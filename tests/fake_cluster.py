"""A cluster of fake hosts over one real file: the runbooks' own scripts run on it with real dd.

Agents publish when the clock's virtual time passes; nothing here waits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ha.core.record import BLOCK_BYTES, Record, encode_global, encode_record
from tasks.env import HostUnreachable, World, use_world
from tasks.inventory import Inventory
from tasks.journal import Journal
from tests.fake_host import DOWN, SIZE_BYTES, TARGET, UP, FakeHost, make_domain, make_host

LOOP_SECONDS = 10
TOO_NEW = b"2|2|1|52|0|x|h".ljust(BLOCK_BYTES, b"\0")
GARBAGE = b"\xff\xfe recycled \x80".ljust(BLOCK_BYTES, b"\x81")


@dataclass
class FakeClock:
    """Virtual time; `passed` is told of each second that a sleep skips over."""

    passed: Callable[[float, float], None]
    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 11, 22, 12, 0, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        before, self.seconds = self.seconds, self.seconds + seconds
        self.passed(before, self.seconds)


@dataclass
class FakeCluster:
    """Hosts that share one whiteboard, in a world of their own."""

    folder: Path
    hosts: dict[str, FakeHost]
    world: World
    engine_host: str
    answers: list[Mapping[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    strangers: dict[int, int] = field(default_factory=dict)
    at_gate: Callable[[], None] = lambda: None
    ha_starts_engine: bool = False

    @property
    def file(self) -> Path:
        return self.folder / "shared" / TARGET.lstrip("/")

    def block(self, host_id: int) -> bytes:
        data = self.file.read_bytes()
        return data[host_id * BLOCK_BYTES : (host_id + 1) * BLOCK_BYTES]

    def put(self, host_id: int, block: bytes) -> None:
        with self.file.open("r+b") as out:
            out.seek(host_id * BLOCK_BYTES)
            out.write(block)

    def publish(self) -> None:
        """Let every running agent write its block once."""
        maintenance = self.block(0).startswith(b"maintenance=1")
        for host in self.hosts.values():
            running = host.get("ovirt-ha-agent") == host.get("ovirt-ha-broker") == "active"
            if not running or not host.joined:
                host.turns = 0
                continue
            host.timestamp += LOOP_SECONDS
            host.turns += 1
            self.put(host.host_id, encode_record(self._record(host, maintenance)))
        if self.ha_starts_engine and not maintenance:
            self._start_engine()
        for host_id in self.strangers:
            self.strangers[host_id] += LOOP_SECONDS
            record = Record(host_id, self.strangers[host_id], 0, DOWN, f"stranger{host_id}")
            self.put(host_id, encode_record(record))

    def _start_engine(self) -> None:
        """Start the engine VM where HA would, if it is nowhere."""
        hosts = [h for h in self.hosts.values() if h.turns and not h.in_local_maintenance]
        if hosts and not any(host.get("vm") for host in self.hosts.values()):
            max(hosts, key=lambda host: host.score).set("vm", "running")

    def passed(self, before: float, after: float) -> None:
        for _ in range(int(after // LOOP_SECONDS) - int(before // LOOP_SECONDS)):
            self.publish()

    def ask(self, gate: str, shown: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((gate, shown["evidence"]))
        self.at_gate()
        return self.answers.pop(0)

    def _record(self, host: FakeHost, maintenance: bool) -> Record:
        engine, parked = host.get("vm") == "running", host.in_local_maintenance
        state = "EngineUp" if engine else "EngineDown"
        if host.turns == 1:
            state = "ReinitializeFSM"
        elif maintenance:
            state = "GlobalMaintenance"
        elif parked:
            state = "LocalMaintenance"
        state = host.state_override or state
        return Record(
            host.host_id,
            host.timestamp,
            0 if state == "LocalMaintenance" else host.score,
            UP if engine else DOWN,
            host.name,
            maintenance=state == "LocalMaintenance",
            stopped=False,
            conf_on_shared_storage=True,
            local_conf_timestamp=0,
            extra=f"version={host.get('version')}\nstate={state}\nstopped=False\n",
        )


APPROVED = {"decision": "approve", "approver": "ann", "reason": "ticket 7", "target": "lab"}
REJECTED = {"decision": "reject", "approver": "bob", "reason": "not tonight", "target": "lab"}


@contextmanager
def fake_cluster(
    tmp_path: Path,
    ids: Sequence[int] = (1, 2, 3),
    bad: Mapping[int, bytes] | None = None,
    size_bytes: int = SIZE_BYTES,
) -> Iterator[FakeCluster]:
    """Put a cluster in force: all services run, the engine VM on the first host."""
    shared = tmp_path / "shared"
    make_domain(shared, size_bytes)
    hosts = {f"h{n}": make_host(tmp_path, n) for n in ids}
    tables = "\n".join(
        f'[[clusters.lab.hosts]]\nname = "{h.name}"\naddress = "192.0.2.{h.host_id}"\n'
        f"host_id = {h.host_id}"
        for h in hosts.values()
    )
    text = f'[clusters.lab.ssh]\nkey_file = "/k"\nknown_hosts = "/h"\n{tables}\n'
    world = World(
        shells=lambda cluster, name: hosts[name],
        journal=Journal(f"sqlite:///{tmp_path / 'journal.db'}"),
        inventory=Inventory.parse(text, "inventory.toml"),
        clock=FakeClock(lambda before, after: None),
        backups=tmp_path / "control-node/backups",
    )
    cluster = FakeCluster(tmp_path, hosts, world, next(iter(hosts)))
    cluster.world = replace(world, clock=FakeClock(cluster.passed), ask=cluster.ask)
    hosts[cluster.engine_host].set("vm", "running")
    cluster.put(0, encode_global(False))
    for _ in range(2):
        cluster.publish()
    for host_id, block in (bad if bad is not None else {52: TOO_NEW}).items():
        cluster.put(host_id, block)
    with use_world(cluster.world):
        yield cluster


def unreachable(name: str) -> HostUnreachable:
    return HostUnreachable(f"{name} (192.0.2.9, port 22): no SSH connection; see that it is up")
