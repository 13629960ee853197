"""Requests of the core to calls of the engine VM's port."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from ha.core.actions import Action
from ha.core.engine_health import NO_START, Heard, Start, StartPhase, overlay, settle
from ha.core.facts import UNKNOWN_ENGINE, EngineStatus, Monotonic, Vm
from ha.env.ports import EngineVm, VmAlreadyRuns, VmBusy, VmLocked, VmMissing, VmTrouble
from ha.env.time_ports import Clock, Flag, Threads
from ha.errand import Errand, Unfinished

START_GRACE_SECONDS = 5.0
END_GRACE_SECONDS = 1.0
# libvirt waits for the monitor of a QEMU that is stuck for ever, and a turn does not.
SHUTDOWN_SECONDS = 5.0
# Longer than sanlock waits for a lease, and shorter than the agent waits for a start.
FORMER_START_SECONDS = 300.0
# Refused starts count: after a few of them, one a turn, this host lets others have the engine.
HUNG_START_SECONDS = 60

log = logging.getLogger(__name__)


class ConfUnavailable(Exception):
    """Raised by the source of the VM's definition when there is none that can be started."""


@dataclass(slots=True)
class _Attempt:
    """One start: its thread is done when `ended` is up; one that is `cut` does not begin."""

    ended: Flag
    begun: bool = False
    cut: bool = False
    dead: bool = False
    """Its VM's power is cut: it cannot come up any more, also before `ended`."""
    hung: bool = False
    """It was given up as it had taken too long."""


class Executor:
    """Carries out requests; a start runs in a thread, as it may wait minutes for the VM's lease.

    Issuing the start is the success that the core hears of; what becomes of it shows in `start`,
    and in `engine`, where it is laid over the monitor's view.
    """

    def __init__(
        self,
        engine_vm: EngineVm,
        vm_xml: Callable[[], str],
        now: Callable[[], Monotonic],
        ring: Callable[[], None],
        *,
        clock: Clock,
        threads: Threads,
    ) -> None:
        """`vm_xml` returns the definition or raises ConfUnavailable; `ring` wakes the agent."""
        self._engine_vm = engine_vm
        self._vm_xml = vm_xml
        self._now = now
        self._ring = ring
        self._clock = clock
        self._threads = threads
        self._guard = threading.Lock()
        self._seen, self._elsewhere = UNKNOWN_ENGINE, False
        self._start = NO_START
        self._attempt: _Attempt | None = None
        self._not_before = 0

    @property
    def start(self) -> Start:
        """How far the last start has come."""
        return self._start

    @property
    def engine(self) -> EngineStatus:
        """The engine as the monitor saw it last, with what has come of the start by now."""
        seen = self._seen
        if seen.vm is Vm.UNKNOWN and self._hangs():
            seen = replace(seen, vm=Vm.DOWN)  # why libvirt does not answer is known
        return overlay(seen, self._start, self._now(), lease_elsewhere=self._elsewhere)

    def settle(
        self, status: EngineStatus, heard: Heard | None = None, *, lease_elsewhere: bool = False
    ) -> None:
        """Forget an ended start once the monitor has seen the VM up for long, or it has gone."""
        self._seen, self._elsewhere = status, lease_elsewhere
        with self._guard:
            self._start = settle(self._start, status, self._now(), heard)

    def give_up_start(self) -> bool:
        """See that no start of ours completes from here on; False when one still may.

        One that is about to succeed gets a moment, and a VM that runs is left alone. But a start
        that waits for the lease would go on in libvirt after this process, and bring the VM up
        minutes after the others, and the operator, were told that this agent has stopped. So the
        waiting VM's power is cut. (libvirt goes on also when the connection is closed.)
        """
        if self._attempt is None:
            return True
        if self._attempt.ended.wait(START_GRACE_SECONDS) or self._attempt.dead:
            return True
        log.info("The start of the engine VM waits for its lease, and is given up")
        if not self._cut(self._attempt):
            return self._attempt.ended.is_set()
        self._call_it(Start(StartPhase.LOCKED, self._now()))
        return True

    def end_start(self) -> None:
        """End a start that waits for the VM's lease: in maintenance nothing comes up any more.

        One that has ended, and a VM that runs, are left alone. If it fails, ask again.
        """
        if self._attempt is None or self._start.phase is not StartPhase.RUNNING:
            return
        log.info("The start of the engine VM waits for its lease, and is ended by the maintenance")
        if self._cut(self._attempt):
            self._call_it(NO_START)

    def _call_it(self, ended: Start) -> bool:
        """Say what a start has come to that was cut; False if it has succeeded before that."""
        with self._guard:
            if self._start.phase is StartPhase.STARTED:
                return False
            self._start = ended
            return True

    def _cut(self, attempt: _Attempt) -> bool:
        """Cut the power of a VM that is being started; tell whether that went well."""
        attempt.cut = True
        if not attempt.begun:
            attempt.dead = True
            return True
        try:
            self._engine_vm.power_off(only_a_start=True)
        except VmTrouble as error:
            log.error("Failed to end the start of the engine VM: '%s'", error)
            attempt.ended.wait(END_GRACE_SECONDS)
            return False
        attempt.dead = True
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
        if self._hangs() or self._now() < self._not_before:
            log.error("Failed to start engine VM: the last start took too long and was given up")
            return False
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
            # One that was cut may not have come back from libvirt yet.
            free = before is None or before.ended.wait(FORMER_START_SECONDS)
            if not free:
                log.error("Failed to start engine VM: libvirt is still at its former start")
            attempt.begun = True
            if free and not attempt.cut:
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
            with self._guard:
                told = self._start.phase is StartPhase.RUNNING or phase is StartPhase.STARTED
                if self._attempt is attempt and told:
                    self._start = Start(phase, self._now())
            attempt.ended.set()
            self._ring()

    def _hangs(self) -> bool:
        """Whether libvirt is still at a start that was given up."""
        last = self._attempt
        return last is not None and last.hung and not last.ended.is_set()

    def _shut_down(self) -> bool:
        """Ask for a shutdown; one that is not answered counts: its limit ends with a power cut."""
        if self._give_up_hung():
            return True  # what was asked for is that it is not up here
        # A new one each time: what an old call gave, when it came back, is no answer to this one.
        errand = Errand(
            "shutdown-vm",
            self._engine_vm.shutdown,
            VmTrouble,
            SHUTDOWN_SECONDS,
            clock=self._clock,
            threads=self._threads,
        )
        try:
            errand.ask()
        except (Unfinished, VmBusy) as error:
            log.warning("The engine VM does not react to its shutdown: '%s'", error)
        except VmTrouble as error:
            log.error("Failed to shut down engine VM: '%s'", error)
            return False
        return True

    def _give_up_hung(self) -> bool:
        """Let a start under way have failed, also if it cannot be ended; False if there is none."""
        attempt = self._attempt
        if attempt is None or self._start.phase is not StartPhase.RUNNING:
            return False
        log.error("The start of the engine VM takes too long, and is given up")
        attempt.hung, self._not_before = True, self._now() + HUNG_START_SECONDS
        self._cut(attempt)
        return self._call_it(Start(StartPhase.FAILED, self._now()))

    def _power_off(self) -> bool:
        try:
            self._engine_vm.power_off()
        except VmMissing:
            return True  # that is what was wanted
        except VmTrouble as error:
            log.error("Failed to power off engine VM: '%s'", error)
            return False
        return True
