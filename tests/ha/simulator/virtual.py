"""Simulated ports for tests that call them as if they were real ones."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from ha.broker import BrokerService
from ha.env.ports import EnvError
from ha.simulator.broker_link import SimBrokerLink
from ha.simulator.engine import Engine, Libvirt, Parts
from ha.simulator.leases import Lease, MemoryArea
from ha.simulator.lockspace_sim import SimLockspace
from ha.simulator.processes import Boot, Process
from ha.simulator.sanlock import Sanlock
from ha.simulator.schedule import Schedule
from ha.simulator.storage import SimWhiteboard, Storage, StoragePath
from ha.simulator.time_sim import HostTime

LONGEST_SECONDS = 10_000.0


class Virtual:
    """Makes each call of a port in a task, a second after the one before."""

    def __init__(self, schedule: Schedule, port: object) -> None:
        self._schedule = schedule
        self._port = port

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._port, name)
        self._schedule.run_until(self._schedule.now + 1)
        return lambda *args, **kwargs: in_task(self._schedule, lambda: method(*args, **kwargs))


def in_task(schedule: Schedule, call: Callable[[], Any]) -> Any:
    """Make a call in a task; return what it gives, raise what it raises."""
    results: list[Any] = []
    errors: list[Exception] = []
    over = schedule.flag()

    def run() -> None:
        try:
            results.append(call())
        except (EnvError, ValueError) as error:
            errors.append(error)
        over.set()

    schedule.spawn(Process("test", "host1", Boot()), "test", run)
    over.wait(LONGEST_SECONDS)
    if errors:
        raise errors[0]
    return results[0]


class Bench:
    """A storage with one lockspace, and hosts with a sanlock each."""

    def __init__(self, io_seconds: float = 10.0) -> None:
        self.schedule = Schedule()
        self.storage = Storage()
        self.area = MemoryArea("he")
        self.engine = Engine(Lease(self.area), boot_seconds=40.0, health_seconds=60.0)
        self.io_seconds = io_seconds
        self.paths: dict[str, StoragePath] = {}
        self.boots: dict[str, Boot] = {}

    def sanlock(self, name: str) -> Sanlock:
        """Boot a host; another of the same name loses its power."""
        if name in self.boots:
            self.boots[name].over = True
        boot = self.boots[name] = Boot()
        path = StoragePath(self.schedule, self.storage, name, Random(0))
        self.paths.setdefault(name, path)
        return Sanlock(
            self.schedule,
            name,
            self.paths[name],
            boot=boot,
            time=HostTime(self.schedule, 1000.0 * (1 + len(self.boots))),
            io_seconds=self.io_seconds,
        )

    def power_off(self, name: str) -> None:
        """Cut a host's power."""
        self.boots[name].over = True

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.schedule.run_until(self.schedule.now + seconds)


class VirtualLibvirt:
    """A host's libvirt whose sanlock is in the lockspace; `told` and `asked` as in Parts."""

    def __init__(self, bench: Bench | None = None, name: str = "host1", host_id: int = 1) -> None:
        self.bench = bench or Bench(io_seconds=1.0)
        self.schedule = self.bench.schedule
        self.sanlock = self.bench.sanlock(name)
        self.host_id = host_id
        self.told: list[str] = []
        self.asked: list[str] = []
        parts = Parts(
            schedule=self.schedule,
            boot=self.bench.boots[name],
            sanlock=self.sanlock,
            path=self.bench.paths[name],
            engine=self.bench.engine,
            told=lambda text: self.told.append(f"{self.schedule.now - self.began:g} {text}"),
            act=lambda process, what: self.asked.append(f"{process.name} {what}"),
        )
        self.libvirt = Libvirt(parts)
        self.sanlock.join(self.bench.area, host_id)
        self.run(5)
        self.began = self.schedule.now

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.bench.run(seconds)

    def let_another_hold_it(self, *, renewing: bool) -> None:
        """Have the VM's lease be held by host 9, which renews its own, or was not seen to."""
        slot, lease = self.bench.area.slot(9), self.bench.engine.lease
        slot.owner, slot.generation, slot.timestamp = "host9", 1, 1
        lease.owner, lease.generation = 9, 1

        def renew() -> None:
            slot.timestamp += 1
            self.schedule.after(2.0, renew)

        if renewing:
            renew()


def simulated_whiteboard() -> Virtual:
    """A whiteboard on simulated storage."""
    bench = Bench()
    bench.sanlock("host1")
    return Virtual(bench.schedule, SimWhiteboard(bench.schedule, bench.paths["host1"]))


def simulated_lockspace() -> Virtual:
    """A lockspace that nobody else uses."""
    bench = Bench()
    sanlock = bench.sanlock("host1")
    return Virtual(bench.schedule, SimLockspace(bench.schedule, sanlock, bench.area))


@dataclass
class Seat:
    """Where a broker is found."""

    process: Process | None
    service: BrokerService | None
    hangs: bool = False


def simulated_link(service: BrokerService) -> Any:
    """A client of a broker, whose own threads are real ones."""
    schedule = Schedule()
    seat = Seat(Process("ovirt-ha-broker", "host1", Boot()), service)
    return Virtual(schedule, SimBrokerLink(schedule, seat, 20.0))
