"""The door of a simulated cluster: a socket at which commands on its hosts are answered.

A request is words, each ended by NUL but for the last. `run HOST NAME=VALUE... "" COMMAND WORD...`
is a command; the answer is "EXIT_CODE BYTES", a line end, and so many bytes of standard output
followed by standard error. `enter HOST SECONDS WORD...` asks whether a host can be reached for a
command, and `do WORDS` makes a fault; the answer of both is a line. Whoever gets no answer was
killed with the host.
"""

import os
import socketserver
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from ha.simulator.cluster import Cluster
from ha.simulator.command import Running, start_on
from ha.simulator.door.call import Call, Handler
from ha.simulator.door.folder import DOOR, Folder
from ha.simulator.door.marked import kill_marked
from ha.simulator.door.pace import Pace
from ha.simulator.door.sanlock_command import sanlock
from ha.simulator.door.systemctl import systemctl
from ha.simulator.door.tools import date, run_hosted_engine, sleep
from ha.simulator.door.virsh import pgrep, virsh
from ha.simulator.faults import UnknownFault
from ha.simulator.host import SimHost
from ha.simulator.processes import Boot, Process, SimulationError

COMMANDS: Mapping[str, Handler] = {
    "hosted-engine": run_hosted_engine,
    "systemctl": systemctl,
    "virsh": virsh,
    "pgrep": pgrep,
    "sanlock": sanlock,
    "sleep": sleep,
    "date": date,
}
LONGEST_SECONDS = 4000.0
"""Longer than any command of a runbook takes."""
UNREACHABLE, HANGS, COME_IN = "unreachable", "hangs", "come in"


class Door:
    """Serves a cluster to who runs commands on its hosts."""

    def __init__(self, cluster: Cluster, folder: Folder, pace: Pace) -> None:
        self.failures: list[SimulationError] = []
        self._cluster = cluster
        self._folder = folder
        self._pace = pace
        self._hosts = {host.name: host for host in cluster.hosts}
        self._boots: dict[str, Boot] = {host.name: host.boot for host in cluster.hosts}
        # An address has 108 bytes at most, a path may be longer.
        self._place = os.open(folder.path, os.O_PATH | os.O_CLOEXEC)
        address = f"/proc/self/fd/{self._place}/{DOOR}"
        self._server = _Server(address, self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="door", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._folder.socket.unlink(missing_ok=True)
        os.close(self._place)
        for name in self._hosts:
            kill_marked(self._folder.machine(name))

    def answer(self, words: list[str]) -> bytes:
        """Answer a request; empty when it was killed."""
        match words:
            case ["run", host, *rest] if host in self._hosts and "" in rest:
                middle = rest.index("")
                return self._run(self._hosts[host], rest[:middle], rest[middle + 1 :])
            case ["enter", host, seconds, *argv] if host in self._hosts:
                return self._enter(self._hosts[host], float(seconds), argv).encode()
            case ["do", *rest]:
                return self.do(" ".join(rest)).encode()
        return b"not understood"

    def do(self, words: str) -> str:
        """Make a fault; return what is wrong with the words, if anything is."""
        with self._pace.lock:
            try:
                self._cluster.do(words)
            except UnknownFault as error:
                return str(error)
            self.notice_power()
        return ""

    def notice_power(self) -> None:
        """End the real processes of hosts that have lost their power."""
        for name, host in self._hosts.items():
            if self._boots[name] is not host.boot or host.boot.over:
                self._boots[name] = host.boot
                kill_marked(self._folder.machine(name))

    def _run(self, host: SimHost, variables: list[str], argv: list[str]) -> bytes:
        name, *words = argv
        environment = dict(each.split("=", 1) for each in variables)

        def body(process: Process, running: Running) -> int:
            call = Call(*(self._cluster, self._folder, host, process, running, words), environment)
            return COMMANDS[name](call)

        boot = host.boot
        try:
            running = self._pace.finish(lambda: start_on(host, name, body), LONGEST_SECONDS)
        except SimulationError as error:
            self.failures.append(error)
            raise
        with self._pace.lock:
            self.notice_power()
            if host.boot is not boot or boot.over:
                return b""
            answer = running.answer
        out = answer.out.encode()
        return f"{answer.exit_code} {len(out)}\n".encode() + out + answer.err.encode()

    def _enter(self, host: SimHost, seconds: float, argv: list[str]) -> str:
        with self._pace.lock:
            self.notice_power()
            if not (host.on and host.uplink):
                return UNREACHABLE
            needs_storage = any(word.startswith("/rhev") for word in argv)
            hangs = host.boot.frozen or (needs_storage and not host.path.works)
        if not hangs:
            return COME_IN
        self._pace.sleep(seconds)
        return HANGS


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str, door: Door) -> None:
        self.door = door
        super().__init__(address, _Request)


class _Request(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        words = self.rfile.read().decode("utf-8", "surrogateescape").split("\0")
        with suppress(SimulationError, BrokenPipeError):
            self.wfile.write(self.server.door.answer(words))
