"""What the engine VM's state and the health page together say of the engine on this host.

Upstream's rules (broker/submonitors/engine_health.py), in its order. What is remembered between two
looks is the VM's state found last; at first it is DOWN.
"""

from dataclasses import dataclass
from enum import StrEnum

from ha.core.facts import UNKNOWN_ENGINE, EngineStatus, Health, Monotonic, Vm
from ha.core.sighting import StopReason, VmSighting, VmState

LOCKED = EngineStatus(
    Vm.DOWN,
    Health.BAD,
    VmState.DOWN.value,
    "Storage of VM is locked. Is another host already starting the VM?",
)
_RUNNING_BUT_NOT_THERE_YET = (VmState.PAUSED, VmState.WAIT_FOR_LAUNCH)
# After a start the monitor may look up to a turn late at a VM that is already there.
_SETTLE_SECONDS = 20
# The monitor's longest look: while it asks the health page it does not see that the VM has gone.
_LATE_SECONDS = 30


def needs_health_page(sighting: VmSighting) -> bool:
    """Whether the answer depends on the health page, which takes seconds to ask."""
    return sighting.state in (VmState.UP, VmState.POWERING_DOWN, VmState.MIGRATION_SOURCE)


def judge(last: Vm, sighting: VmSighting, health_page_ok: bool) -> tuple[Vm, EngineStatus]:
    """Return the state to remember and the engine's status."""
    state = sighting.state
    if state is VmState.UNKNOWN:
        return last, UNKNOWN_ENGINE
    if state is VmState.MISSING:
        vm = Vm.DOWN_MISSING if last is Vm.UP else last
        return vm, EngineStatus(vm, Health.BAD, "unknown", "vm not running on this host")
    if state in (VmState.DOWN, VmState.MIGRATION_DESTINATION):
        return _judge_down(last, sighting)
    if state in _RUNNING_BUT_NOT_THERE_YET:
        return Vm.UP, EngineStatus(Vm.UP, Health.BAD, state.value, "bad vm status")
    if not health_page_ok:
        return Vm.UP, EngineStatus(Vm.UP, Health.BAD, state.value, "failed liveliness check")
    return Vm.UP, EngineStatus(Vm.UP, Health.GOOD, state.value)


def _judge_down(last: Vm, sighting: VmSighting) -> tuple[Vm, EngineStatus]:
    detail = sighting.state.value
    if sighting.reason is StopReason.LOCKED:
        return Vm.DOWN, LOCKED
    if sighting.reason is StopReason.MIGRATED:
        return Vm.DOWN, EngineStatus(Vm.DOWN, Health.BAD, detail, "VM migrated away successfully")
    vm = Vm.DOWN if last is Vm.DOWN else Vm.DOWN_UNEXPECTED
    return vm, EngineStatus(vm, Health.BAD, detail, "bad vm status")


@dataclass(frozen=True, slots=True)
class Heard:
    """What the hypervisor told last of the VM here, without being asked, and when."""

    sighting: VmSighting
    since: Monotonic


def hear(status: EngineStatus, heard: Heard | None, now: Monotonic) -> EngineStatus:
    """Return the engine's status with what was heard since the monitor looked.

    A VM that has just gone need not be looked at to be known: the monitor may be a while behind.
    """
    if heard is None or status.vm is not Vm.UP or now - heard.since > _LATE_SECONDS:
        return status
    if heard.sighting.state is not VmState.DOWN:
        return status
    _, known = judge(Vm.UP, heard.sighting, False)
    return known


class StartPhase(StrEnum):
    """How far this agent's last start of the VM has come."""

    NONE = "none"
    RUNNING = "running"
    """Under way; it may wait minutes for a lease whose owner only looks dead."""
    STARTED = "started"
    LOCKED = "locked"
    """Another host holds the lease."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Start:
    """This agent's last start of the VM; `since` is when the phase was noticed."""

    phase: StartPhase
    since: Monotonic


NO_START = Start(StartPhase.NONE, Monotonic(0))


def overlay(
    status: EngineStatus, start: Start, now: Monotonic, *, lease_elsewhere: bool = False
) -> EngineStatus:
    """Return the engine's status as the decision must see it, given our own start of the VM.

    The monitor knows nothing of a start that still waits for the lease, nor why one failed. One
    that failed while another live host holds the lease has lost a race, whatever it says itself.
    libvirt answers nothing about the VM while it waits for the lease, so the monitor's view grows
    old and becomes unknown: the start under way is what is known then.
    """
    running = start.phase is StartPhase.RUNNING
    if status.vm is Vm.UP or (status.vm is Vm.UNKNOWN and not running):
        return status
    settling = start.phase is StartPhase.STARTED and now - start.since <= _SETTLE_SECONDS
    if running or settling:
        return EngineStatus(Vm.UP, Health.BAD, VmState.WAIT_FOR_LAUNCH.value, "bad vm status")
    lost = start.phase is StartPhase.FAILED and lease_elsewhere
    if start.phase is StartPhase.LOCKED or lost:
        return LOCKED
    if start.phase is StartPhase.FAILED:
        return EngineStatus(Vm.DOWN_UNEXPECTED, Health.BAD, VmState.DOWN.value, "bad vm status")
    return status


def settle(start: Start, status: EngineStatus, now: Monotonic, heard: Heard | None = None) -> Start:
    """Forget an ended start once the VM is seen up long after it: somebody else started it.

    Not at once: the sighting may be a little older than the end of the start. A start whose VM is
    heard to have gone has failed after all, unless the VM moved away.
    """
    if heard is not None and _has_gone(start, heard):
        moved = heard.sighting.reason is StopReason.MIGRATED
        return NO_START if moved else Start(StartPhase.FAILED, now)
    ended = start.phase not in (StartPhase.NONE, StartPhase.RUNNING)
    over = ended and now - start.since > _SETTLE_SECONDS
    return NO_START if over and status.vm is Vm.UP else start


def _has_gone(start: Start, heard: Heard) -> bool:
    """Whether the VM that was started has ended since."""
    since = start.phase is StartPhase.STARTED and heard.since >= start.since
    return since and heard.sighting.state is VmState.DOWN
