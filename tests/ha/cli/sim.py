"""A host for the command's tests: a temporary root, and ports that remember what was asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ha.cli.command import run_command
from ha.cli.host import Host, Terminal
from ha.config import Paths
from ha.core.record import GLOBAL_BLOCK, encode_global
from ha.core.sighting import VmSighting, VmState
from ha.env.console_port import VncServer
from ha.env.live_hosts import LiveHosts
from ha.env.threads import HostThreads
from tests.ha.cli.sim_storage import SimSanlock, SimWhiteboard

ANSWERS = """\
[environment:default]
OVEHOSTED_NETWORK/fqdn=str:engine.lab
OVEHOSTED_NETWORK/gateway=str:10.88.0.1
OVEHOSTED_NETWORK/network_test=str:ping
OVEHOSTED_STORAGE/domainType=str:nfs
OVEHOSTED_STORAGE/storageDomainConnection=str:server:/a_b/shared
OVEHOSTED_VM/vmMemSizeMB=int:96
OVEHOSTED_VM/vmVCpus=int:1
OVEHOSTED_ENGINE/adminPassword=str:secret
"""


@dataclass
class SimClock:
    now: float = 1000.0
    naps: list[Callable[[], None]] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for nap in self.naps:
            nap()


@dataclass
class SimBroker:
    blocks: dict[int, bytes] = field(default_factory=dict)
    live: LiveHosts = field(default_factory=lambda: LiveHosts((), None))
    trouble: Exception | None = None
    loses_writes: bool = False

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        self._stumble()
        return {h: b for h, b in self.blocks.items() if host_ids is None or h in host_ids}

    def write_block(self, block: bytes) -> None:
        raise AssertionError("the command never writes a host's own block")

    def set_global_maintenance(self, on: bool) -> None:
        self._stumble()
        if not self.loses_writes:
            self.blocks[GLOBAL_BLOCK] = encode_global(on)

    def monitors(self) -> Mapping[str, object]:
        raise AssertionError("the command asks for no monitors")

    def set_live_hosts(self, *_: object) -> None:
        raise AssertionError("only the agent says who is alive")

    def live_hosts(self) -> LiveHosts:
        self._stumble()
        return self.live

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        raise AssertionError("the command notifies nobody")

    def watch_engine(self, host_id: int, mark: str, seconds: float) -> str:
        raise AssertionError("the command watches no engine")

    def lock_host_id(self) -> None:
        raise AssertionError("only the agent takes the host id")

    def release_host_id(self) -> None:
        raise AssertionError("only the agent gives the host id back")

    def host_id_locked(self) -> bool:
        return True

    def _stumble(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@dataclass
class SimEngineVm:
    state: VmState = VmState.MISSING
    state_after_start: VmState = VmState.UP
    forgets_pause: bool = False
    trouble: Exception | None = None
    started: list[str] = field(default_factory=list)

    def start(self, xml: str, *, paused: bool = False) -> None:
        self._stumble()
        self.started.append(xml)
        self.state = VmState.PAUSED if paused and not self.forgets_pause else self.state_after_start

    def shutdown(self) -> None:
        self._stumble()
        self.state = VmState.POWERING_DOWN

    def power_off(self, *, only_a_start: bool = False) -> None:
        assert not only_a_start
        self._stumble()
        self.state = VmState.MISSING

    def sighting(self) -> VmSighting:
        return VmSighting(self.state)

    def watch(self, callback: Callable[[VmSighting], None]) -> None:
        raise AssertionError("the command does not watch")

    def _stumble(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@dataclass
class SimConsole:
    """`looks` are what is seen of VNC at each look, the last one again and again."""

    looks: list[VncServer | None] = field(default_factory=lambda: [VncServer("0.0.0.0", 5900)])
    trouble: Exception | None = None
    refuses: Exception | None = None
    tickets: list[tuple[str, float]] = field(default_factory=list)
    exit_code: int = 0
    attached: int = 0

    def vnc(self) -> VncServer | None:
        if self.trouble is not None:
            raise self.trouble
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def set_vnc_password(self, password: str, *, valid_until: float) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.tickets.append((password, valid_until))

    def attach_serial(self) -> int:
        self.attached += 1
        return self.exit_code


@dataclass
class SimServices:
    active: set[str] = field(default_factory=set)
    enabled: list[str] = field(default_factory=list)
    on_enable: Callable[[str], None] = lambda unit: None
    trouble: Exception | None = None

    def is_active(self, unit: str) -> bool:
        if self.trouble is not None:
            raise self.trouble
        return unit in self.active

    def enable_now(self, unit: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.enabled.append(unit)
        self.on_enable(unit)


@dataclass
class SimHost:
    """The parts, the host made of them, and what it printed."""

    root: Path
    name: str = "h1"
    broker: SimBroker = field(default_factory=SimBroker)
    vm: SimEngineVm = field(default_factory=SimEngineVm)
    others: set[str] = field(default_factory=set)
    console: SimConsole = field(default_factory=SimConsole)
    environment: dict[str, str] = field(default_factory=dict)
    ask: Callable[[str], str] | None = None
    addresses: dict[str, str] = field(default_factory=lambda: {"ovirtmgmt": "10.88.0.11"})
    services: SimServices = field(default_factory=SimServices)
    sanlock: SimSanlock = field(default_factory=SimSanlock)
    clock: SimClock = field(default_factory=SimClock)
    whiteboard: SimWhiteboard = field(default_factory=SimWhiteboard)
    healthy: bool = True
    mount: Callable[..., None] = lambda *arguments: None
    unmount: Callable[[Path], bool] = lambda target: False
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    uuids: int = 0

    def __post_init__(self) -> None:
        self.write(self.root / "etc/libvirt/qemu.conf", 'lock_manager = "sanlock"\n')

    @property
    def paths(self) -> Paths:
        return Paths(self.root)

    def run(self, *arguments: str) -> int:
        self.out.clear()
        self.err.clear()
        return run_command(self._host(), arguments)

    @property
    def said(self) -> str:
        return "\n".join(self.out)

    @property
    def complained(self) -> str:
        return "\n".join(self.err)

    def write(self, place: Path, text: str) -> Path:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def _host(self) -> Host:
        return Host(
            paths=self.paths,
            name=self.name,
            broker=self.broker,
            engine_vm=self.vm,
            vm_exists=self.others.__contains__,
            console=self.console,
            terminal=Terminal(self.environment, self.ask),
            address_of=lambda name: self.addresses.get(name, ""),
            services=self.services,
            sanlock=self.sanlock,
            clock=self.clock,
            threads=HostThreads(),
            whiteboard=self.whiteboard.at,
            mount=self.mount,
            unmount=self.unmount,
            health_page_ok=lambda fqdn: self.healthy,
            new_uuid=self._new_uuid,
            stamp=lambda: "20261122T030000Z",
            kvm=lambda: False,
            say=self.out.append,
            complain=self.err.append,
        )

    def _new_uuid(self) -> str:
        self.uuids += 1
        return f"{self.uuids:08x}-0000-4000-8000-000000000000"
