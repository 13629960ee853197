"""sanlock's leases as values: what is on storage, and what a daemon knows of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ha.simulator.schedule import SimFlag

WATCHDOG_SECONDS = 60.0
"""Compiled into sanlock: within this time a watchdog resets a host that goes on without a lease."""


class Slot(Protocol):
    """The lease on one host id, on storage; timestamp 0: free."""

    owner: str
    generation: int
    timestamp: int


class Area(Protocol):
    """A lockspace, on storage."""

    name: str
    readable: bool

    @property
    def slots(self) -> Mapping[int, Slot]:
        """The leases that were ever taken, by host id."""

    def slot(self, host_id: int) -> Slot:
        """Return the lease on a host id."""

    def initialise(self) -> None:
        """Write an empty lockspace."""


@dataclass(slots=True)
class MemorySlot:
    """One that is kept in memory."""

    owner: str = ""
    generation: int = 0
    timestamp: int = 0


@dataclass(slots=True)
class MemoryArea:
    """One that is kept in memory."""

    name: str
    slots: dict[int, MemorySlot] = field(default_factory=dict)
    readable: bool = True

    def slot(self, host_id: int) -> MemorySlot:
        """Return the lease on a host id."""
        return self.slots.setdefault(host_id, MemorySlot())

    def initialise(self) -> None:
        """Write an empty lockspace."""
        self.slots.clear()
        self.readable = True


@dataclass(slots=True)
class Lease:
    """A lease on something, as on the engine VM's disk, on storage; owner 0: free."""

    area: Area
    owner: int = 0
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a daemon saw last of a host id, and when it saw that change."""

    host_id: int
    timestamp: int
    generation: int
    live_at: float


class Space:
    """A lockspace that a daemon is in; `held` is None while it is taken or being lost.

    `joining` asked for it.
    """

    def __init__(self, area: Area, host_id: int, joining: "Request") -> None:
        self.area = area
        self.host_id = host_id
        self.joining = joining
        self.held: bool | None = None
        self.generation = 0
        self.renewed_at = 0.0
        self.seen: dict[int, Seen] = {}
        self.users: list[Callable[[], None]] = []
        """Called when the lease is lost: each ends what uses it, and then calls `release`."""


class Request:
    """Something that a daemon is asked for: `code` holds when `over` is up."""

    def __init__(self, over: SimFlag) -> None:
        self.over = over
        self.code = 0

    def end(self, code: int) -> None:
        """Answer it."""
        self.code = code
        self.over.set()
