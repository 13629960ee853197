"""Who answers at the door of a simulated cluster.

A request is words. `run MACHINE PASSWORD COMMAND WORD...` is a command; the answer is a script
that prints what it prints and ends as it ends. `enter MACHINE SECONDS WORD...` asks whether a
machine can be reached for a command; `do WORDS` makes a fault, `now` asks for the time, `broken`
for what must always hold and did not, and `stop` ends it all: the answer of these is text. Whoever
gets no answer was killed with the machine.
"""

from collections.abc import Callable, Mapping, Sequence
from shlex import quote

from ha.cli.console import VARIABLE as PASSWORD
from ha.core.record import GLOBAL_BLOCK, GlobalRecord, judge_block
from ha.simulator.cluster import Cluster
from ha.simulator.command import Answer, Running, start_on
from ha.simulator.door.call import Call
from ha.simulator.door.folder import Folder
from ha.simulator.door.machines import COMMANDS, Machine, machines_of
from ha.simulator.door.marked import kill_marked
from ha.simulator.door.pace import Pace
from ha.simulator.faults import UnknownFault
from ha.simulator.processes import Process, SimulationError

LONGEST_SECONDS = 4000.0
"""Longer than any command of a runbook takes."""
UNREACHABLE, HANGS, COME_IN = b"unreachable", b"hangs", b"come in"
NOT_UNDERSTOOD = b"not understood"
STORAGE = "/rhev"
ASIDE = "aside"
"""Said of a wait for whose end nobody waits."""


class Desk:
    """Answers requests about one cluster, from any thread."""

    def __init__(self, cluster: Cluster, folder: Folder, pace: Pace) -> None:
        self.failures: list[SimulationError] = []
        self._cluster = cluster
        self._folder = folder
        self._pace = pace
        self._site = cluster.hosts[0].site
        self._machines = machines_of(cluster)
        self._lives = {name: machine.life() for name, machine in self._machines.items()}
        self._flag = self._read_flag()
        self._simple: Mapping[str, Callable[[], str]] = {
            "now": lambda: f"{cluster.now:.3f}",
            "broken": lambda: "\n".join(cluster.invariants.broken),
            "stop": self._stop,
        }
        pace.before_time, pace.after_time = self._notice_writes, self._notice_ends

    def answer(self, words: Sequence[str]) -> bytes:
        """Answer a request; empty when it was killed. Raises SimulationError."""
        match words:
            case ["run", name, password, command, *rest] if name in self._machines:
                environment = {PASSWORD: password} if password else {}
                return self._run(self._machines[name], environment, command, rest)
            case ["enter", name, seconds, *argv] if name in self._machines:
                return self._enter(self._machines[name], float(seconds), argv)
            case ["do", *rest]:
                return self.do(" ".join(rest)).encode()
            case [word] if word in self._simple:
                return self._simple[word]().encode()
        return NOT_UNDERSTOOD

    def do(self, words: str) -> str:
        """Make a fault; return what is wrong with the words, if anything is."""
        with self._pace.lock:
            try:
                self._cluster.do(words)
            except UnknownFault as error:
                return str(error)
            self._flag = self._read_flag()
            self._notice_ends()
        return ""

    def end_all(self) -> None:
        """End the real processes of all machines, and what waits aside."""
        self._pace.stop()
        for name in self._machines:
            kill_marked(self._folder.machine(name))

    def _stop(self) -> str:
        self._pace.stop()
        return "stopping"

    def _run(
        self, machine: Machine, environment: Mapping[str, str], command: str, words: Sequence[str]
    ) -> bytes:
        with self._pace.lock:
            host, life = machine.place(), machine.life()
            if host is None:
                return b""

        def body(process: Process, running: Running) -> int:
            parts = (self._cluster, self._folder, host, machine.name, machine.packages)
            call = Call(*parts, process, running, words, environment)
            return COMMANDS[machine.kind][command](call)

        try:
            finish = self._pace.finish_aside if ASIDE in words else self._pace.finish
            running = finish(lambda: start_on(host, command, body), LONGEST_SECONDS)
        except SimulationError as error:
            self.failures.append(error)
            raise
        with self._pace.lock:
            if machine.life() is not life or not running.over.is_set():
                return b""
            return _script(running.answer)

    def _enter(self, machine: Machine, seconds: float, argv: Sequence[str]) -> bytes:
        with self._pace.lock:
            host = machine.place()
            if host is None:
                return UNREACHABLE
            hangs = host.boot.frozen or (_on_storage(argv) and not host.path.works)
        if not hangs:
            return COME_IN
        self._pace.sleep(seconds)
        return HANGS

    def _notice_writes(self) -> None:
        """Take note that somebody who is no host has changed global maintenance."""
        flag, maintenance = self._read_flag(), self._site.maintenance
        if flag != self._flag:
            maintenance.begin()
            maintenance.end()
            if flag is not None:
                maintenance.acknowledge(flag, self._site.schedule.now)

    def _notice_ends(self) -> None:
        """End the real processes of machines whose life has ended."""
        self._flag = self._read_flag()
        for name, machine in self._machines.items():
            life = machine.life()
            if life is not self._lives[name]:
                self._lives[name] = life
                kill_marked(self._folder.machine(name))

    def _read_flag(self) -> bool | None:
        """Return global maintenance as block 0 has it; None: it cannot be read."""
        block = self._site.storage.blocks.get(GLOBAL_BLOCK, b"\0")
        record = judge_block(GLOBAL_BLOCK, block).record if block[0] else GlobalRecord(False)
        return record.maintenance if isinstance(record, GlobalRecord) else None


def _script(answer: Answer) -> bytes:
    """Return what prints an answer and ends as it does, for a shell."""
    streams = {"": answer.out, " >&2": answer.err}
    lines = [f"printf %s {quote(text)}{where}" for where, text in streams.items() if text]
    return "\n".join([*lines, f"exit {answer.exit_code}\n"]).encode()


def _on_storage(argv: Sequence[str]) -> bool:
    return any(word.startswith(STORAGE) for word in argv)
