"""Requests of the core to calls of the engine VM's port."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ha.core.actions import Action
from ha.core.engine_health import NO_START, Heard, Start, StartPhase, settle
from ha.core.facts import EngineStatus, Monotonic
from ha.env.ports import EngineVm, VmAlreadyRuns, VmLocked, VmMissing, VmTrouble
from ha.env.time_ports import Flag, Threads

START_GRACE_SECONDS = 5.0
END_GRACE_SECONDS = 1.0

log = logging.getLogger(__name__)


class ConfUnavailable(Exception):
    """Raised by the source of the VM's definition when there is none that can be started."""


@dataclass(slots=True)
class _Attempt:
    """One start: its thread is done when `ended` is up; one that is `cut` does not begin."""

    ended: Flag
    begun: bool = False
    cut: bool = False


class Executor:
    """Carries out requests; a start runs in a thread, as it may wait minutes for the VM's lease.

    Issuing the start is the success that the core hears of; what becomes of it shows in `start`,
    which the agent lays over the monitor's view of the engine.
    """

    def __init__(
        self,
        engine_vm: EngineVm,
        vm_xml: Callable[[], str],
        now: Callable[[], Monotonic],
        ring: Callable[[], None],
        *,
        threads: Threads,
    ) -> None:
        """`vm_xml` returns the definition or raises ConfUnavailable; `ring` wakes the agent."""
        self._engine_vm = engine_vm
        self._vm_xml = vm_xml
        self._now = now
        self._ring = ring
        self._threads = threads
        self._start = NO_START
        self._attempt: _Attempt | None = None

    @property
    def start(self) -> Start:
        """How far the last start has come."""
        return self._start

    def settle(self, status: EngineStatus, heard: Heard | None = None) -> None:
        """Forget an ended start once the monitor has seen the VM up for long, or it has gone."""
        self._start = settle(self._start, status, self._now(), heard)

    def give_up_start(self) -> bool:
        """See that no start of ours completes from here on; False when one still may.

        One that is about to succeed gets a moment, and a VM that runs is left alone. But a start
        that waits for the lease would go on in libvirt after this process, and bring the VM up
        minutes after the others, and the operator, were told that this agent has stopped. So the
        waiting VM's power is cut. (A child process to kill, or closing the connection, would not
        help: libvirt goes on with what it was asked for.)
        """
        if self._attempt is None:
            return True
        self._attempt.ended.wait(START_GRACE_SECONDS)
        if self._start.phase is not StartPhase.RUNNING:
            return True
        log.info("The start of the engine VM waits for its lease, and is given up")
        if not self._cut(self._attempt):
            return self._start.phase is not StartPhase.RUNNING
        self._start = Start(StartPhase.LOCKED, self._now())
        return True

    def end_start(self) -> None:
        """End a start that waits for the VM's lease: in maintenance nothing comes up any more.

        One that has ended, and a VM that runs, are left alone. If it fails, ask again.
        """
        if self._attempt is None or self._start.phase is not StartPhase.RUNNING:
            return
        log.info("The start of the engine VM waits for its lease, and is ended by the maintenance")
        if self._cut(self._attempt):
            self._start = NO_START

    def _cut(self, attempt: _Attempt) -> bool:
        """Cut the power of a VM that is being started; tell whether that went well."""
        attempt.cut = True
        if not attempt.begun:
            return True
        try:
            self._engine_vm.power_off(only_a_start=True)
        except VmTrouble as error:
            log.error("Failed to end the start of the engine VM: '%s'", error)
            attempt.ended.wait(END_GRACE_SECONDS)
            return False
        # libvirt reports that as a lock that was not got, but only when the wait is over.
        attempt.ended.wait(END_GRACE_SECONDS)
        return True

    def perform(self, action: Action) -> bool:
        """Carry out one request and tell whether it was accepted."""
        match action:
            case Action.START_VM:
                return self._start_vm()
            case Action.SHUTDOWN_VM:
                return self._shut_down()
            case Action.POWEROFF_VM:
                return self._power_off()

    def _start_vm(self) -> bool:
        if self._start.phase is StartPhase.RUNNING:
            return True  # the one under way is the start that is asked for
        try:
            xml = self._vm_xml()
        except ConfUnavailable as error:
            log.error("Failed to start engine VM: '%s'", error)
            return False
        self._start = Start(StartPhase.RUNNING, self._now())
        before, attempt = self._attempt, _Attempt(self._threads.flag())
        self._attempt = attempt
        # A thread: an agent that is told to stop does not wait for a lease.
        self._threads.start("start-vm", lambda: self._run_start(xml, attempt, before))
        return True

    def _run_start(self, xml: str, attempt: _Attempt, before: _Attempt | None) -> None:
        phase = StartPhase.FAILED  # also when an error nobody thought of ends this thread
        try:
            if before is not None:
                before.ended.wait()  # one that was cut may not have come back from libvirt yet
            attempt.begun = True
            if not attempt.cut:
                self._engine_vm.start(xml)
                phase = StartPhase.STARTED
        except VmAlreadyRuns as error:
            log.info("%s", error)
            phase = StartPhase.STARTED
        except VmLocked as error:
            log.warning("VM storage is already locked. %s", error)
            phase = StartPhase.LOCKED
        except VmTrouble as error:
            log.error("Failed to start engine VM: '%s'", error)
        finally:
            if self._attempt is attempt and self._start.phase is StartPhase.RUNNING:
                self._start = Start(phase, self._now())
            attempt.ended.set()
            self._ring()

    def _shut_down(self) -> bool:
        try:
            self._engine_vm.shutdown()
        except VmTrouble as error:
            log.error("Failed to shut down engine VM: '%s'", error)
            return False
        return True

    def _power_off(self) -> bool:
        try:
            self._engine_vm.power_off()
        except VmMissing:
            return True  # that is what was wanted
        except VmTrouble as error:
            log.error("Failed to power off engine VM: '%s'", error)
            return False
        return True
