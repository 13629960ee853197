"""A cluster in virtual time, on which the product's own agents, brokers and command run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from ha.simulator.command import Answer, Running, hosted_engine, start_on
from ha.simulator.deployed import furnish
from ha.simulator.faults import do_fault
from ha.simulator.host import SimHost
from ha.simulator.invariants import Invariants
from ha.simulator.log_keeper import LogKeeper
from ha.simulator.processes import Process
from ha.simulator.site import Line, Plan, Shared, in_memory, new_site

COMMAND_LIMIT_SECONDS = 3600.0


class CommandHangs(Exception):
    """Raised when a command does not end."""


class Cluster:
    """Hosts host1..hostN on shared storage, up at 0 s. To be closed, or used by `with`."""

    def __init__(self, plan: Plan, shared: Shared | None = None) -> None:
        self.plan = plan
        self.log: list[Line] = []
        self._site = new_site(plan, in_memory() if shared is None else shared, self._say)
        self._keeper = LogKeeper(self._site)
        self._keeper.open()
        self.hosts = tuple(SimHost(self._site, host_id) for host_id in range(1, plan.hosts + 1))
        self.invariants = Invariants(self.hosts)
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self._site.schedule.now

    def run_until(self, seconds: float) -> None:
        """Let everything happen until then. Raises SimulationError."""
        self._site.schedule.run_until(seconds)

    def do(self, words: str) -> None:
        """Do now what `ha.simulator.faults` knows by these words. Raises UnknownFault."""
        self._say("", "fault", words)
        do_fault(self.hosts, words)

    def command(
        self, host: str, *argv: str, environment: Mapping[str, str] | None = None
    ) -> Answer:
        """Run `hosted-engine` on a host to its end. Raises CommandHangs, SimulationError.

        `argv` is what follows the command's name. A command on a host without power is killed.
        """
        running = self.start_command(self._named(host), argv, environment)
        running.over.wait(COMMAND_LIMIT_SECONDS)
        self._site.schedule.run_until(self.now)
        if not running.over.is_set():
            raise CommandHangs(f"{host}: hosted-engine {' '.join(argv)}: no end")
        return running.answer

    def start_command(
        self, host: SimHost, argv: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Running:
        """Start it only."""
        if host.paths is None:
            if self._folder is None:
                self._folder = TemporaryDirectory(prefix="simulated-hosts-")
            furnish(host, Path(self._folder.name) / host.name)

        def body(process: Process, running: Running) -> int:
            return hosted_engine(
                *(host, process, running, argv),
                engine_answers=lambda: self.serves,
                environment=environment or {},
            )

        return start_on(host, "hosted-engine", body)

    @property
    def serves(self) -> bool:
        """Whether a healthy engine can be reached."""
        return any(host.serves for host in self.hosts)

    @property
    def global_maintenance(self) -> bool | None:
        """The flag as it was acknowledged last; None while that is not known."""
        return self._site.maintenance.on

    def close(self) -> None:
        """End all that runs."""
        self._site.schedule.close()
        self._keeper.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _named(self, name: str) -> SimHost:
        return next(host for host in self.hosts if host.name == name)

    def _say(self, host: str, kind: str, text: str) -> None:
        self.log.append(Line(self.now, host, kind, text))
