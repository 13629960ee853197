"""The product's `hosted-engine` on a simulated host, in virtual time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ha.cli.command import run_command
from ha.cli.host import FAILURE, Host, Terminal
from ha.core.record import GLOBAL_BLOCK, encode_global
from ha.simulator.broker_link import SimBrokerLink
from ha.simulator.command_ports import SimConsole, SimHostSanlock, SimServices
from ha.simulator.deployed import BRIDGE, uuid
from ha.simulator.engine_vm_sim import SimEngineVm
from ha.simulator.probes_sim import NO_ROUTE_SECONDS, PAGE_SECONDS
from ha.simulator.processes import Process
from ha.simulator.schedule import SimFlag
from ha.simulator.storage import SimWhiteboard
from ha.simulator.time_sim import SimClock, SimThreads

if TYPE_CHECKING:
    from ha.simulator.host import SimHost

# As in ha.cli.__main__.
BROKER_LIMIT_SECONDS = 60.0
START_SECONDS = 0.1
"""What the interpreter needs before the first line."""
KILLED = 137
MAINTENANCE = {"--mode=global": True, "--mode=none": False}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said, and how it ended."""

    exit_code: int
    out: str = ""
    err: str = ""


@dataclass(slots=True)
class Running:
    """A command under way; what it said so far. `over` is up when it has ended."""

    over: SimFlag
    exit_code: int = KILLED
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    @property
    def answer(self) -> Answer:
        """What there is of it now."""
        return Answer(self.exit_code, _lines(self.out), _lines(self.err))


def bridge_address(host_id: int) -> str:
    """Return a host's address on its bridge."""
    return f"10.88.0.1{host_id}"


def start_on(host: "SimHost", name: str, body: Callable[[Process, Running], int]) -> Running:
    """Start a process on a host that ends with an exit code; on a host without power it is dead."""
    schedule = host.site.schedule
    running = Running(schedule.flag())
    process = Process(name, host.name, host.boot)

    def run() -> None:
        try:
            running.exit_code = body(process, running)
        finally:
            host.commands = [each for each in host.commands if each is not process]
            schedule.after(0.0, running.over.set)

    if host.on:
        host.commands.append(process)
        schedule.spawn(process, name, run)
    else:
        running.over.set()
    return running


def hosted_engine(
    host: "SimHost",
    process: Process,
    running: Running,
    arguments: Sequence[str],
    *,
    engine_answers: Callable[[], bool],
    environment: Mapping[str, str],
) -> int:
    """Run `hosted-engine` in a process of a furnished host, to its end; return its exit code.

    `engine_answers`: whether the engine can be reached from anywhere.
    """
    host.site.say(host.name, "command", " ".join(("hosted-engine", *arguments)))
    host.site.schedule.sleep(START_SECONDS)
    terminal = Terminal(environment, None)
    code = _run(host, _host(host, process, running, engine_answers, terminal), arguments)
    said = "\n".join((f"exit code {code}", *running.out, *running.err))
    host.site.say(host.name, "command", said)
    return code


def _run(host: "SimHost", caller: Host, arguments: Sequence[str]) -> int:
    wanted = MAINTENANCE.get(arguments[-1]) if "--set-maintenance" in arguments else None
    maintenance, site = host.site.maintenance, host.site
    if wanted is None:
        return _run_caught(caller, arguments)
    maintenance.begin()
    try:
        code = _run_caught(caller, arguments)
    finally:
        maintenance.end()
    # Also where not every host took notice: the flag was read back.
    if code != FAILURE and site.storage.blocks.get(GLOBAL_BLOCK) == encode_global(wanted):
        maintenance.acknowledge(wanted, site.schedule.now)
    return code


def _run_caught(caller: Host, arguments: Sequence[str]) -> int:
    try:
        return run_command(caller, arguments)
    except OSError as error:
        caller.complain(f"hosted-engine: {error}")
        return FAILURE


def _host(
    host: "SimHost",
    process: Process,
    running: Running,
    engine_answers: Callable[[], bool],
    terminal: Terminal,
) -> Host:
    if host.paths is None:
        raise ValueError(f"{host.name} has no files")
    schedule, clock = host.site.schedule, SimClock(host.site.schedule, host.time)

    def health_page_ok(fqdn: str) -> bool:
        del fqdn
        answers = host.uplink and engine_answers()
        schedule.sleep(PAGE_SECONDS if answers else NO_ROUTE_SECONDS)
        return answers

    return Host(
        paths=host.paths,
        name=host.name,
        broker=SimBrokerLink(schedule, host, BROKER_LIMIT_SECONDS),
        engine_vm=SimEngineVm(schedule, host.libvirt, process),
        vm_exists=lambda name: False,
        console=SimConsole(host),
        terminal=terminal,
        services=SimServices(host),
        sanlock=SimHostSanlock(host),
        clock=clock,
        threads=SimThreads(schedule, process),
        whiteboard=lambda path: SimWhiteboard(schedule, host.path),
        mount=lambda *arguments, **options: None,
        unmount=lambda target: False,
        health_page_ok=health_page_ok,
        address_of=lambda name: bridge_address(host.host_id) if name == BRIDGE else "",
        new_uuid=lambda: uuid(host.site.random.randrange(1 << 16, 1 << 32)),
        stamp=lambda: datetime.fromtimestamp(clock.wall(), UTC).strftime("%Y%m%dT%H%M%SZ"),
        kvm=lambda: True,
        say=running.out.append,
        complain=running.err.append,
    )


def _lines(said: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in said)
