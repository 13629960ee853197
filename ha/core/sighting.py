"""What was seen of the engine VM on this host, as values."""

from dataclasses import dataclass
from enum import StrEnum


class VmState(StrEnum):
    """The VM's state; the value is the status word that upstream publishes as `detail`."""

    UNKNOWN = "unknown"
    """libvirt does not answer."""
    MISSING = "missing"
    """There is no such VM here and nobody saw how it went, or it never was here."""
    DOWN = "Down"
    UP = "Up"
    PAUSED = "Paused"
    POWERING_DOWN = "Powering down"
    MIGRATION_SOURCE = "Migration Source"
    MIGRATION_DESTINATION = "Migration Destination"
    WAIT_FOR_LAUNCH = "WaitForLaunch"


class StopReason(StrEnum):
    """How the VM stopped, from libvirt's lifecycle events."""

    SHUTDOWN = "shutdown"
    """Its system shut down, on request or by itself."""
    DESTROYED = "destroyed"
    """Somebody cut its power."""
    CRASHED = "crashed"
    FAILED = "failed"
    """The emulator died or was killed."""
    MIGRATED = "migrated"
    """It runs on another host now."""
    LOCKED = "locked"
    """It did not start because another host holds its lease."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class VmSighting:
    """One look at the VM; `reason` only with DOWN (None: not known)."""

    state: VmState
    reason: StopReason | None = None
