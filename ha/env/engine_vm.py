"""The engine VM through libvirt.

The VM is a transient domain, so it vanishes when it stops; how it stopped is kept from libvirt's
lifecycle events. An unreachable libvirt is reported as such, and connected to again when asked.
"""

import functools
import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt

from ha.core.sighting import StopReason, VmSighting, VmState
from ha.env.emulator import Emulator
from ha.env.engine_vm_link import LibvirtLink, look_up, migrating_out, press_power_button
from ha.env.lock_manager import QEMU_CONF, require_sanlock
from ha.env.ports import (
    VmAlreadyRuns,
    VmLocked,
    VmMissing,
    VmStartFailed,
    VmTrouble,
    VmUnreachable,
)

VM_NAME = "HostedEngine"
SYSTEM_URI = "qemu:///system"
STOP_EVENT_GRACE_SECONDS = 0.5
END_START_SECONDS = 10.0
END_START_PAUSE_SECONDS = 0.1

log = logging.getLogger(__name__)

# What libvirt's lock manager and QEMU's own image locks say when another host has the disk.
# Upstream knows fewer, and has added to them three times. Who loses a race with words that are not
# here is known by the lease (`ha.core.engine_health.overlay`).
_LOCKED = re.compile(
    r"Failed to acquire lock|Lease is held by another host|Is another process using the image"
    r'|Failed to get (shared )?"[a-z ]+" lock'
)
_STOPPED = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: StopReason.SHUTDOWN,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: StopReason.DESTROYED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: StopReason.CRASHED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED: StopReason.MIGRATED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: StopReason.FAILED,
}
_EVENTS = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: VmState.UP,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: VmState.UP,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: VmState.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: VmState.POWERING_DOWN,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: VmState.DOWN,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: VmState.DOWN,
}
_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: VmState.UP,
    libvirt.VIR_DOMAIN_BLOCKED: VmState.UP,
    libvirt.VIR_DOMAIN_PAUSED: VmState.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: VmState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: VmState.POWERING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: VmState.DOWN,
    libvirt.VIR_DOMAIN_CRASHED: VmState.DOWN,
}


class LibvirtEngineVm:
    """The domain of this name at this libvirt. Usable from several threads."""

    def __init__(
        self, uri: str = SYSTEM_URI, name: str = VM_NAME, qemu_conf: Path = QEMU_CONF
    ) -> None:
        self._link = LibvirtLink(uri, self._on_event, self._on_close, self._on_return)
        self._name = name
        self._qemu_conf = qemu_conf
        self._emulator = Emulator(name)
        self._starting = threading.Event()
        self._start_cut = False
        self._callbacks: list[Callable[[VmSighting], None]] = []
        self._changed = threading.Condition()
        self._stop_reason: StopReason | None = None
        self._was_here = False

    def start(self, xml: str, *, paused: bool = False) -> None:
        """Start the VM from a libvirt domain; one that is down here is replaced.

        So is one that is paused, but for a start that is to end paused itself (`paused`).
        Blocks while the lease's owner only looks dead. Raises VmAlreadyRuns, VmLocked,
        VmStartFailed, and VmUnreachable when nobody knows whether it started.
        """
        self._start_cut = False
        self._starting.set()
        try:
            self._start(xml, paused=paused)
        finally:
            self._starting.clear()

    def shutdown(self) -> None:
        """Press the power button. Raises VmMissing, VmBusy, VmTrouble, VmUnreachable.

        One that is still being started has none. A QEMU that is stuck is waited for without limit.
        """
        if self._starting.is_set():
            raise VmTrouble(f"{self._name} is still being started")
        with self._link.asking(VmTrouble) as connection:
            press_power_button(look_up(connection, self._name))

    def power_off(self, *, only_a_start: bool = False) -> None:
        """Cut the power; off when this returns. Raises VmMissing, VmTrouble, VmUnreachable.

        Also of a VM whose start by this object waits for the lease: then the emulator is killed.
        libvirt would carry out a `destroy` when the wait is over, which may take minutes, and the
        start also when nobody is connected any more; without the emulator it fails.
        `only_a_start` leaves a VM that runs alone.
        """
        deadline = time.monotonic() + END_START_SECONDS
        while self._starting.is_set():
            self._start_cut = True
            if self._emulator.kill(END_START_SECONDS):
                return
            if time.monotonic() > deadline:
                raise VmTrouble(f"{self._name} is still being started, and no emulator is found")
            time.sleep(END_START_PAUSE_SECONDS)
        if not only_a_start:
            self._destroy()

    def sighting(self) -> VmSighting:
        """Look at the VM now."""
        try:
            with self._link.asking(VmTrouble) as connection:
                domain = look_up(connection, self._name)
                state, reason = domain.state()
                seen = _state_of(state, reason, functools.partial(migrating_out, domain))
        except VmMissing:
            return self._gone()
        except VmTrouble as trouble:
            log.warning("Cannot look at the engine VM: %s", trouble)
            return VmSighting(VmState.UNKNOWN)
        if seen is VmState.DOWN:
            return self._gone(VmSighting(VmState.DOWN))
        self._remember_stop(None, here=True)
        return VmSighting(seen)

    def watch(self, callback: Callable[[VmSighting], None]) -> None:
        """Call back from another thread after every change, and when libvirt goes or comes back.

        Callbacks must return at once.
        """
        self._callbacks.append(callback)
        # Connect, and no more: a look at the VM would wait behind a start that waits for its lease.
        try:
            with self._link.asking(VmTrouble):
                pass
        except VmTrouble as trouble:
            log.warning("The engine VM is not watched yet: %s", trouble)

    def _start(self, xml: str, *, paused: bool) -> None:
        seen = self.sighting()
        if seen.state is VmState.UNKNOWN:
            raise VmUnreachable("libvirt does not answer")
        if seen.state not in (VmState.DOWN, VmState.MISSING) and (
            paused or seen.state is not VmState.PAUSED
        ):
            raise VmAlreadyRuns(seen.state.value)
        require_sanlock(self._qemu_conf)
        if seen.state is VmState.PAUSED:
            log.info("VM exists and is %s, cleaning up and restarting", seen.state.value)
            self._destroy()
        if self._start_cut:
            raise VmStartFailed("Its power was cut before it was started")
        self._remember_stop(None, here=True)
        try:
            with self._link.asking(VmStartFailed) as connection:
                connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
        except VmStartFailed as refusal:
            locked = _LOCKED.search(str(refusal)) is not None
            self._remember_stop(StopReason.LOCKED if locked else StopReason.FAILED)
            if locked:
                raise VmLocked(str(refusal)) from refusal
            raise

    def _destroy(self) -> None:
        with self._link.asking(VmTrouble) as connection:
            look_up(connection, self._name).destroy()

    def _gone(self, otherwise: VmSighting | None = None) -> VmSighting:
        # The event that says how it stopped may be a moment behind the look that found it gone.
        with self._changed:
            known = self._changed.wait_for(
                lambda: self._stop_reason is not None or not self._was_here,
                STOP_EVENT_GRACE_SECONDS,
            )
            self._was_here = False
            if known and self._stop_reason is not None:
                return VmSighting(VmState.DOWN, self._stop_reason)
        return otherwise or VmSighting(VmState.MISSING)

    def _remember_stop(self, reason: StopReason | None, *, here: bool = False) -> None:
        with self._changed:
            self._stop_reason = reason
            self._was_here = here
            self._changed.notify_all()

    def _on_event(self, domain: Any, event: int, detail: int) -> None:
        state = _EVENTS.get(event)
        if state is None or domain.name() != self._name:
            return
        if state is VmState.DOWN:
            crashed = event == libvirt.VIR_DOMAIN_EVENT_CRASHED
            reason = StopReason.CRASHED if crashed else _STOPPED.get(detail, StopReason.OTHER)
            self._remember_stop(reason)
            self._tell(VmSighting(state, reason))
        else:
            self._remember_stop(None, here=True)
            self._tell(VmSighting(state))

    def _on_close(self) -> None:
        self._tell(VmSighting(VmState.UNKNOWN))

    def _on_return(self) -> None:
        self._tell(self.sighting())

    def _tell(self, seen: VmSighting) -> None:
        for callback in self._callbacks:
            callback(seen)


def _state_of(state: int, reason: int, migrating_out: Callable[[], bool]) -> VmState:
    known = _STATES.get(state, VmState.UNKNOWN)
    if known is VmState.PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP:
        return VmState.WAIT_FOR_LAUNCH
    if known in (VmState.UP, VmState.PAUSED) and migrating_out():
        return VmState.MIGRATION_SOURCE
    if known is VmState.PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_MIGRATION:
        return VmState.MIGRATION_DESTINATION
    return known
