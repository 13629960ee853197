"""What can be seen of a lab from outside, past the hosts, while a drill goes on."""

import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import TracebackType

from ha.core.record import BLOCK_BYTES, Record, judge_block
from ha.core.timing import Timing
from ha.simulator.timeline import Change, Mark, Timeline, timeline
from ha.storage_domain import BLOCK_VM_LEASE_OFFSET_BYTES
from tasks.lockspace_area import LEADER
from tests.lab.block_storage import BlockStorage
from tests.lab.cluster import Lab
from tests.lab.commands import LabError
from tests.lab.domain import ENGINE, METADATA
from tests.lab.heartbeats import spans

EVERY_SECONDS = 0.2
FIRST_LOOK_SECONDS = 10
BEFORE_SECONDS = 1.0  # how long is watched before anything befalls the lab
EMULATOR = "qemu-system-x86"
AGENT_LOG = "var/log/ovirt-hosted-engine-ha/agent.log"
EMULATOR_LOG = "var/log/libvirt/qemu/HostedEngine.log"
LAST_LINES = 60
# daemon_log.LINE: thread::level::time::...; the lab's hosts tell the time in UTC.
AT = r"::(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3})::"
START = re.compile(f"{AT}.*attempting to start engine VM")
REQUEST = re.compile(rf"{AT}.*\[\w+/request-[\w-]+\]$")


class Watch:
    """Looks a few times a second, in threads, between `with` and its end."""

    def __init__(self, lab: Lab, title: str) -> None:
        self.lab, self.title = lab, title
        self._since_wall, self._since = time.time(), time.monotonic()
        self._changes: list[Change] = []
        self._marks: list[Mark] = []
        self._told_last: dict[str, tuple[int, float]] = {}
        self._ending = threading.Event()
        self._begun = threading.Barrier(3)
        self._pool = ThreadPoolExecutor(2)
        self._looks = [self._pool.submit(self._go_on, look) for look in (self._hosts, self._engine)]

    def __enter__(self) -> "Watch":
        self._begun.wait(FIRST_LOOK_SECONDS)
        time.sleep(BEFORE_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._pool.shutdown()
        if error is None:
            for look in self._looks:
                look.result()

    def fault(self, text: str) -> None:
        """Note that this befalls the lab now."""
        self._marks.append(Mark(time.monotonic(), text))

    def told(self, text: str) -> None:
        """Note that this has come about now."""
        self._marks.append(Mark(time.monotonic(), text, fault=False))

    def timeline(self) -> Timeline:
        """What was seen so far.

        The heartbeat's lane tells where the VM was booted, also when it has migrated since; it is
        exact to a second only.
        """
        marks = [*self._marks]
        for host, at_wall in starts(self.lab, self._since_wall):
            marks.append(Mark(self._monotonic(at_wall), f"start issued on {host}", fault=False))
        beats = []
        for life in spans(self.lab.heartbeats()):
            if life.last_wall_seconds >= self._since_wall:
                began = max(self._since, self._monotonic(life.first_wall_seconds))
                ended = max(began, self._monotonic(life.last_wall_seconds))
                beats.append(Change(began, "heartbeat", life.host.removesuffix(".lab")))
                beats.append(Change(ended, "heartbeat", ""))
        return timeline(
            self.title,
            [*self._changes, *beats],
            marks,
            end_seconds=time.monotonic(),
            order=[*(host.name for host in self.lab.hosts), "VM", "engine", "heartbeat"],
        )

    def _monotonic(self, at_wall: float) -> float:
        return at_wall - self._since_wall + self._since

    def _go_on(self, look: Callable[[], None]) -> None:
        look()
        self._begun.wait(FIRST_LOOK_SECONDS)
        while not self._ending.wait(EVERY_SECONDS):
            look()

    def _note(self, lane: str, word: str, note: str = "") -> None:
        self._changes.append(Change(time.monotonic(), lane, word, note))

    def _hosts(self) -> None:
        for host, (word, note) in self._published().items():
            self._note(host, word, note)
        self._note("VM", vm_place(self.lab))

    def _engine(self) -> None:
        self._note("engine", "good" if self.lab.engine_answers() else "no answer")

    def _published(self) -> dict[str, tuple[str, str]]:
        """What each host says of itself on the whiteboard, and with what score."""
        hosts, said = self.lab.hosts, {}
        with self.lab.storage.path_of(METADATA).open("rb") as volume:
            data = volume.read((len(hosts) + 1) * BLOCK_BYTES)
        for host in hosts:
            block = data[host.host_id * BLOCK_BYTES : (host.host_id + 1) * BLOCK_BYTES]
            record = judge_block(host.host_id, block).record
            stamp = record.timestamp if isinstance(record, Record) else 0
            if not self.lab.machine(host.name).has_power():
                # What it said before, it has not said again when it comes back.
                self._told_last[host.name] = (stamp, -math.inf)
                said[host.name] = ("no power", "")
            elif not isinstance(record, Record) or self._silent(host.name, stamp):
                said[host.name] = ("silent", "")
            else:
                said[host.name] = (record.state or "", str(record.score))
        return said

    def _silent(self, host: str, stamp: int) -> bool:
        """Whether the host has not written for so long that the others take it for dead."""
        now = time.monotonic()
        last, at = self._told_last.get(host, (stamp, now))
        self._told_last[host] = (stamp, at if last == stamp else now)
        return last == stamp and now - at > timing_of(self.lab).host_alive_seconds


def timing_of(lab: Lab) -> Timing:
    """The limits in force in the lab."""
    return Timing(**lab.timing)  # type: ignore[arg-type]


def processes(lab: Lab, command: str, unit: str = "") -> dict[str, int]:
    """The number of each host's process of that name, in that unit, as this machine counts."""
    groups = {f"/{lab.machine(host.name).group.name}/": host.name for host in lab.hosts}
    found = {}
    for process in Path("/proc").iterdir():
        try:
            if (process / "comm").read_text().strip() != command:
                continue
            text = (process / "cgroup").read_text()
        except (OSError, ValueError):
            continue
        if unit in text:
            found |= {name: int(process.name) for group, name in groups.items() if group in text}
    return found


def emulators(lab: Lab) -> dict[str, int]:
    """The hosts with an engine VM's process, running or waiting for its lease, and its number."""
    return processes(lab, EMULATOR)


def bring_into_step(lab: Lab) -> None:
    """Let the turns of all agents begin at the same moment from here on.

    They are stopped for longer than a turn, so that each has one due when all go on at once.
    """
    agents = processes(lab, "python3", "ovirt-ha-agent.service").values()
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for agent in agents:
            os.kill(agent, number)
        time.sleep(1.5 * timing_of(lab).loop_seconds if number == signal.SIGSTOP else 0)


def kill_emulator(lab: Lab, host: str) -> None:
    """`kill -9` of the engine VM's process on that host; done when this returns."""
    os.kill(emulators(lab)[host], signal.SIGKILL)


def lease_owner(lab: Lab) -> int | None:
    """The host id that has the engine VM's lease by what is on the storage; None when free."""
    disk = lab.storage.path_of(ENGINE)
    on_block = isinstance(lab.storage, BlockStorage)
    place = disk.with_name("leases" if on_block else f"{disk.name}.lease")
    with place.open("rb") as leases:
        leases.seek(BLOCK_VM_LEASE_OFFSET_BYTES if on_block else 0)
        fields = LEADER.unpack(leases.read(LEADER.size))
    owner, timestamp = fields[6], fields[11]
    return owner if timestamp else None


def vm_place(lab: Lab) -> str:
    """The host that runs the engine VM: it has the lease, and the VM's process."""
    there, owner = emulators(lab), lease_owner(lab)
    running = [host.name for host in lab.hosts if host.name in there and host.host_id == owner]
    return running[0] if running else "waits for its lease" if there else ""


def starts(lab: Lab, since_wall: float) -> list[tuple[str, float]]:
    """When which host's agent decided to start the engine VM, by its own log."""
    return _logged(lab, START, since_wall)


def requests(lab: Lab, since_wall: float) -> list[tuple[str, float]]:
    """When which host's agent requested a start, a shutdown or a power cut, by its own log."""
    return _logged(lab, REQUEST, since_wall)


def _logged(lab: Lab, line: re.Pattern[str], since_wall: float) -> list[tuple[str, float]]:
    found = []
    for host in lab.hosts:
        log = lab.machine(host.name).root / AGENT_LOG
        for text in log.read_text().splitlines() if log.exists() else ():
            if said := line.search(text):
                wall = datetime.fromisoformat(f"{said[1].replace(',', '.')}+00:00").timestamp()
                found += [(host.name, wall)] if wall >= since_wall else []
    return sorted(found, key=lambda start: start[1])


def last_words(lab: Lab) -> str:
    """What agents, libvirt and the engine VM's emulators logged last, for a test that failed.

    It is the only thing left of a lab that has gone down with its test.
    """
    said = []
    for host in lab.hosts:
        for name in (AGENT_LOG, EMULATOR_LOG):
            log = lab.machine(host.name).root / name
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            said += [f"--- {host.name} /{name}", *lines[-LAST_LINES:]]
        journal = ("journalctl", "--no-pager", "--lines=20", "--unit=libvirtd", "--unit=sanlock")
        said.append(f"--- {host.name} journal")
        try:
            said.append(lab.ssh(host.name, *journal, check=False, timeout_seconds=10).stdout)
        except LabError as error:
            said.append(str(error))
    return "\n".join(said)
