"""What an agent keeps in files, for a simulated host: in memory, with the host's life."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ha.agent_files import REFRESH_SECONDS
from ha.anomaly_memory import REMEMBERED_SECONDS
from ha.core.actions import Action
from ha.core.anomalies import Watch
from ha.core.facts import Memory, Monotonic, Observation
from ha.core.score import CoreSettings
from ha.execute import ConfUnavailable
from ha.simulator.deployed import VM_MEMORY_MIB, VM_XML, write_vm_conf
from ha.turn import Turn

if TYPE_CHECKING:
    from ha.simulator.host import SimHost


class SimFiles:
    """The files that an agent reads."""

    def __init__(self, host: "SimHost") -> None:
        self._host = host

    def local_maintenance(self) -> bool:
        """Whether this host is out of service."""
        return self._host.read_local_maintenance()

    def refresh(self) -> None:
        """Fetch the VM's definition from the storage. Raises ConfUnavailable."""
        host = self._host
        if not host.path.works:
            host.site.schedule.sleep(REFRESH_SECONDS)
            raise ConfUnavailable("the configuration volume does not answer")
        if host.disk_full and not host.conf_fetched:
            raise ConfUnavailable("vm.conf: No space left on device")
        host.conf_fetched = True
        if host.paths is not None:
            write_vm_conf(host.paths)

    def vm_xml(self) -> str:
        """The VM's definition. Raises ConfUnavailable, as in local maintenance."""
        if self.local_maintenance():
            raise ConfUnavailable("this host is in local maintenance")
        if not self._host.conf_fetched:
            raise ConfUnavailable("there is no vm.conf")
        return VM_XML

    def vm_memory_mib(self) -> float:
        """The VM's memory; 0 while its definition has not been fetched yet."""
        return float(VM_MEMORY_MIB) if self._host.conf_fetched else 0.0


class SimWatchMemory:
    """The watch for anomalies, until the host's next boot."""

    def __init__(self, host: "SimHost") -> None:
        self._host = host

    def load(self, now: Monotonic) -> Watch:
        """Return what was saved last, if it is not too old."""
        kept = self._host.watch
        if kept is None or not 0 <= now - kept[0] <= REMEMBERED_SECONDS:
            return Watch()
        return kept[1]

    def save(self, watch: Watch, now: Monotonic) -> None:
        """Save the watch."""
        if not self._host.disk_full:
            self._host.watch = (now, watch)


def taken_off(turn: Turn) -> str:
    """Return what lowers the score, in words; nothing where the state takes it all."""
    taken = [penalty for penalty in turn.penalties if penalty.points]
    return ", ".join(f"{penalty.points} off for {penalty.reason}" for penalty in taken)


class SimRecorder:
    """Tells each change of state and of score."""

    def __init__(self, host: "SimHost") -> None:
        self._host = host
        self._score: int | None = None

    def record(
        self,
        before: Memory,
        seen: Observation,
        turn: Turn,
        settings: CoreSettings,
        results: Mapping[Action, bool],
    ) -> None:
        """Keep one turn."""
        del before, seen, settings, results
        score = turn.memory.score
        steps = [step for step in turn.transitions if step.old is not step.new]
        if not steps and score != self._score:
            steps = list(turn.transitions[-1:])
        for step in steps:
            text = f"{step.new.value} ({score}): {step.why} [{step.rule}]"
            if score != self._score and (taken := taken_off(turn)):
                text += f"; {taken}"
            self._host.site.say(self._host.name, "state", text)
        self._score = score
