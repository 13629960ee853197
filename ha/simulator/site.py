"""What all hosts of a simulation share: the time, the storage, the engine, and the log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from ha.config import AgentConf
from ha.simulator.engine import Engine
from ha.simulator.leases import Area, Lease, MemoryArea
from ha.simulator.processes import Process
from ha.simulator.schedule import Schedule
from ha.simulator.storage import Storage

WHITEBOARD_SPACE = "hosted-engine"
VM_SPACE = "00000000-0000-4000-8000-000000000001"
"""The engine VM's lockspace has the name of its storage domain."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated. Seconds are of virtual time."""

    hosts: int = 3
    seed: int = 0
    first: str = ""
    """The host whose services start first, so that it starts the engine VM; else as it happens."""
    settings: AgentConf = field(default_factory=AgentConf)
    """agent.conf, on all hosts."""
    deployment: Mapping[str, str] = field(default_factory=dict)
    """What hosted-engine.conf says on all hosts, where it is not what the simulator would write."""
    boot_seconds: float = 60.0
    """A host, from power-on to its services."""
    engine_boot_seconds: float = 40.0
    """The engine VM, from its start until its network answers."""
    engine_health_seconds: float = 60.0
    """And from then on until the engine's health page says that all is well."""
    watchdog: bool = True
    """Hosts have one: it resets a host that hangs while it holds a lease."""
    log_level: int | None = None
    """From which level on the product's own log is kept, as `logging` counts; None: none of it."""

    @property
    def io_timeout_seconds(self) -> float:
        """sanlock's io_timeout, which agent.conf sets."""
        return float(self.settings.timing.io_timeout_seconds)


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened; `kind`: state, vm, fault, host, log, command."""

    at_seconds: float
    host: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.at_seconds:9.2f} {self.host:8} {self.kind:8} {self.text}".rstrip()


@dataclass(slots=True)
class Maintenance:
    """Global maintenance as it was asked for; `on` is None while that is not known."""

    on: bool | None = False
    since: float = 0.0
    under_way: int = 0

    def begin(self) -> None:
        """Somebody asks for a change."""
        self.on = None
        self.under_way += 1

    def end(self) -> None:
        """It was answered."""
        self.under_way -= 1

    def acknowledge(self, on: bool, now: float) -> None:
        """It was answered well, unless somebody else asks meanwhile."""
        if not self.under_way:
            self.on, self.since = on, now


@dataclass(slots=True)
class Site:
    """The parts; `say` gets a host's name, a kind and a text."""

    plan: Plan
    schedule: Schedule
    random: Random
    storage: Storage
    whiteboard_area: Area
    vm_area: Area
    engine: Engine
    say: Callable[[str, str, str], None]
    maintenance: Maintenance = field(default_factory=Maintenance)
    on_vm: list[Callable[[], None]] = field(default_factory=list)
    """Called when the VM begins or ceases to run somewhere."""
    on_act: list[Callable[[Process, str], None]] = field(default_factory=list)
    """Called when a process asks libvirt to start or to stop the VM."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What is on the shared storage: the whiteboard, and the two lockspaces."""

    storage: Storage
    whiteboard_area: Area
    vm_area: Area


def in_memory() -> Shared:
    """Return an empty whiteboard and free leases."""
    return Shared(Storage(), MemoryArea(WHITEBOARD_SPACE), MemoryArea(VM_SPACE))


def new_site(plan: Plan, shared: Shared, say: Callable[[str, str, str], None]) -> Site:
    """Return a site whose engine VM runs nowhere."""
    return Site(
        plan=plan,
        schedule=Schedule(),
        random=Random(plan.seed),
        storage=shared.storage,
        whiteboard_area=shared.whiteboard_area,
        vm_area=shared.vm_area,
        engine=Engine(Lease(shared.vm_area), plan.engine_boot_seconds, plan.engine_health_seconds),
        say=say,
    )
