"""What the monitor needs of the world, as small Protocols, and the trouble each may report.

The agent's `Env` has the broker for storage and looking around; the broker's `BrokerEnv` has the
real things. A simulator or a test may stand in at either seam.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ha.core.leases import LeaseHolder
from ha.core.sighting import VmSighting
from ha.core.vm_lease import VmLease
from ha.env.live_hosts import LiveHosts
from ha.env.time_ports import Clock, Threads

Report: TypeAlias = Mapping[str, object]


class EnvError(Exception):
    """Trouble of the world that the caller is expected to meet."""


class WhiteboardFailed(EnvError):
    """Raised by a whiteboard when storage refuses a read or a write."""


class LostWrite(WhiteboardFailed):
    """Raised by a whiteboard when the block read back is not the block written."""


class LockspaceFailed(EnvError):
    """Raised by a lockspace when sanlock refuses or cannot be asked; `code` is sanlock's errno."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class HostIdTaken(LockspaceFailed):
    """Raised by a lockspace when this host already holds another id, or another host holds this."""


class VmTrouble(EnvError):
    """Raised when the engine VM could not be acted upon."""


class VmUnreachable(VmTrouble):
    """Raised when libvirt does not answer: nothing is known of what happened to the request."""


class VmMissing(VmTrouble):
    """Raised by shutdown and power_off when the VM does not exist on this host."""


class VmBusy(VmTrouble):
    """Raised by shutdown when libvirt gave up waiting for a VM that does not react."""


class VmAlreadyRuns(VmTrouble):
    """Raised by start when the VM exists here and is neither down nor paused."""

    def __init__(self, status: str) -> None:
        super().__init__(f"VM exists and its status is {status}")
        self.status = status


class VmStartFailed(VmTrouble):
    """Raised by start when libvirt refuses the VM for another reason than its lease."""


class VmLocked(VmStartFailed):
    """Raised by start when another host holds the VM's lease."""


class BrokerUnreachable(EnvError):
    """Raised by the broker link when no broker listens, or it does not answer."""


class BrokerSilent(BrokerUnreachable):
    """Raised when it was asked and does not answer: it may have done it, or do it yet."""


class BrokerError(EnvError):
    """`kind`: not_locked joining host_id_taken lockspace storage lost_write bad_request failed."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


class Whiteboard(Protocol):
    """The shared area on storage. Every method raises WhiteboardFailed."""

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        """The non-empty blocks of 4096 bytes among these ids; None reads the whole range."""

    def write_block(self, host_id: int, block: bytes) -> None:
        """Write one block and read it back from storage (LostWrite)."""


class Lockspace(Protocol):
    """One sanlock lockspace. Every method raises LockspaceFailed."""

    def join(self, host_id: int) -> None:
        """Take the lease on this host id; returns when it is held (HostIdTaken)."""

    def leave(self, host_id: int) -> None:
        """Give the lease back; nothing happens if it is not held."""

    def held(self, host_id: int) -> bool | None:
        """Whether this host holds the lease; None while sanlock is taking or leaving it."""

    def holders(self) -> Sequence[LeaseHolder]:
        """All host ids that sanlock has seen in use."""


class VmLeaseReader(Protocol):
    """The engine VM's lease."""

    def look(self) -> VmLease:
        """Who holds it now, as storage and sanlock say; unknown when they do not. Never raises."""


class EngineVm(Protocol):
    """The engine VM on this host."""

    def start(self, xml: str, *, paused: bool = False) -> None:
        """Start it; VmAlreadyRuns, VmLocked, VmStartFailed, VmUnreachable. May block long."""

    def shutdown(self) -> None:
        """Press its power button; may block long. Raises VmMissing, VmTrouble, VmUnreachable."""

    def power_off(self, *, only_a_start: bool = False) -> None:
        """Cut its power; off when it returns. Raises VmMissing, VmTrouble, VmUnreachable.

        A start that this object has under way is ended; `only_a_start` leaves a VM that runs alone.
        """

    def sighting(self) -> VmSighting:
        """What is seen of it now; an unreachable libvirt is a sighting too (UNKNOWN)."""

    def watch(self, callback: Callable[[VmSighting], None]) -> None:
        """Call back from another thread after every change, also after libvirt came back."""


class Probes(Protocol):
    """One look at the host each; None where the look failed."""

    def network(self) -> float:
        """Share of successful network probes, 0 to 1. Takes seconds."""

    def bridge_up(self) -> bool:
        """Whether the management bridge is up."""

    def memory_free_mib(self) -> float | None:
        """Memory that a new VM could have, in MiB."""

    def cpu_load_without_engine(self) -> float | None:
        """Share of the processors in use, 0 to 1, less the engine VM's; None until known."""

    def health_page_ok(self) -> bool:
        """Whether the engine's health page says that all is well. Takes up to 20 s."""


class Notifier(Protocol):
    """Tells people."""

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Queue a message; never blocks, never raises. `since` 1970, in seconds; None: now."""


class Monitors(Protocol):
    """The broker's other services. Each raises BrokerUnreachable and BrokerError."""

    def monitors(self) -> Mapping[str, object]:
        """The latest values by upstream's names, as `ha.monitors.values_of` gives them."""

    def set_live_hosts(
        self, host_ids: Sequence[int], report: Report | None = None, dead_ids: Sequence[int] = ()
    ) -> None:
        """Keep which hosts are alive, its own id included, and dead, and `ha.report`'s report."""

    def live_hosts(self) -> LiveHosts:
        """The list kept last."""

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Queue a notification; `since` as in Notifier."""

    def watch_engine(self, host_id: int, mark: str, seconds: float) -> str:
        """`ha.core.vigil.mark_of` a host's engine and the lease, once other or after so long."""


class SharedWhiteboard(Protocol):
    """The whiteboard through the broker. Raises BrokerUnreachable and BrokerError."""

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        """The non-empty blocks among these ids, read from storage now; None: the whole range."""

    def write_block(self, block: bytes) -> None:
        """Write the block of this host; "not_locked" without the lease on its host id."""

    def set_global_maintenance(self, on: bool) -> None:
        """Write block 0 and read it back from storage."""


class HostIdLease(Protocol):
    """This host's id in the lockspaces, through the broker."""

    def lock_host_id(self) -> None:
        """Take the lease on this host's id in both lockspaces; "joining" until both are held."""

    def release_host_id(self) -> None:
        """Give back the whiteboard's lease, also one that is yet to come; the VM's stays."""

    def host_id_locked(self) -> bool:
        """Whether both leases are held."""


class Broker(Monitors, SharedWhiteboard, HostIdLease, Protocol):
    """All three."""


@dataclass(frozen=True, slots=True)
class Env:
    """The agent's world."""

    clock: Clock
    threads: Threads
    broker: Broker
    engine_vm: EngineVm


@dataclass(frozen=True, slots=True)
class BrokerEnv:
    """The broker's world."""

    clock: Clock
    threads: Threads
    whiteboard: Whiteboard
    lockspace: Lockspace  # guards the whiteboard
    vm_lockspace: Lockspace  # guards the engine VM
    vm_lease: VmLeaseReader  # in that lockspace
    engine_vm: EngineVm
    probes: Probes
    notifier: Notifier
    read_domain: Callable[[], object]  # one read of the storage domain; raises WhiteboardFailed
