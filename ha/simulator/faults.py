"""What can go wrong, and be put right, in a simulated cluster: one line a fault, as it is typed.

Longer than 250 lines because the table of faults and what each does stay side by side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ha.core.record import BLOCK_BYTES, MAX_HOST_ID, judge_block
from ha.core.sighting import StopReason
from ha.simulator.host import SimHost
from ha.simulator.operator import migrate, set_global_maintenance

HOST, ALL = "HOST", "all"
# What each kind of number may be.
NUMBERS = {
    "SECONDS": (0.0, 86_400.0),
    "OFFSET": (-3.2e9, 3.2e9),
    "SHARE": (0.0, 1.0),
    "NUMBER": (0, MAX_HOST_ID),
    "PPM": (-500_000, 500_000),
}
Hosts = Sequence[SimHost]
LOW_MEMORY_MIB = 512.0
ENOUGH_MEMORY_MIB = 16384.0
GARBAGE = b"\xff\xfe\x00garbage".ljust(BLOCK_BYTES, b"\xa5")


class UnknownFault(ValueError):
    """Raised for words that name no fault; says which there are."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault: what is typed, what it does, and a line of explanation.

    In `words` HOST stands for a host's name, a key of NUMBERS for a number within that range (whole
    if its bounds are), `a|b` for a choice. `do` gets all hosts, then what stands for these.
    """

    words: str
    does: str
    do: Callable[..., None]


def _set(**values: object) -> Callable[..., None]:
    """A fault of one host that is a value of it."""

    def do(_hosts: Hosts, host: SimHost) -> None:
        for name, value in values.items():
            setattr(host, name, value)

    return do


def _power(*, on: bool) -> Callable[..., None]:
    def do(hosts: Hosts) -> None:
        for host in hosts:
            if on:
                host.power_on()
            elif host.on:
                host.power_off()

    return do


def _kill_vm(hosts: Hosts) -> None:
    for host in hosts:
        if host.on:
            host.libvirt.end(StopReason.FAILED)


def _vanish(hosts: Hosts) -> None:
    for host in hosts:
        if host.on:
            host.libvirt.vanish()


def _sicken(hosts: Hosts, *, broken: bool = False) -> None:
    """Stop the engine's service in the VM; `broken`: on the VM's disk, so in its next boots too."""
    hosts[0].site.engine.broken |= broken
    for host in hosts:
        if host.libvirt.vm is not None:
            host.libvirt.vm.sick = True


def _heal(hosts: Hosts) -> None:
    hosts[0].site.engine.broken = False
    for host in hosts:
        if host.libvirt.vm is not None:
            host.libvirt.vm.sick = host.libvirt.vm.hangs = False


def _hang_shutdown(hosts: Hosts) -> None:
    for host in hosts:
        if host.libvirt.vm is not None:
            host.libvirt.vm.hangs = True


def _put(hosts: Hosts, number: int, block: bytes) -> None:
    site = hosts[0].site
    if number == 0:
        site.maintenance.on = None
    site.storage.put(number, block)


def _garbage(hosts: Hosts, number: int) -> None:
    _put(hosts, number, GARBAGE)


def _too_new(hosts: Hosts, number: int) -> None:
    _put(hosts, number, f"2|2|1|{number}|3400|x|host".encode().ljust(BLOCK_BYTES, b"\0"))


def _empty(hosts: Hosts, number: int) -> None:
    _put(hosts, number, bytes(BLOCK_BYTES))


def _mend_block(hosts: Hosts, number: int) -> None:
    block = hosts[0].site.storage.blocks.get(number, b"")
    if judge_block(number, block).bad:
        _empty(hosts, number)


def _corrupt_lockspace(hosts: Hosts) -> None:
    hosts[0].site.whiteboard_area.readable = False


def _mend_lockspace(hosts: Hosts) -> None:
    area = hosts[0].site.whiteboard_area
    if not area.readable:
        area.initialise()


def _duplicate(hosts: Hosts, host: SimHost) -> None:
    host.host_id = hosts[(hosts.index(host) + 1) % len(hosts)].host_id
    if host.on:
        host.reset("restarts with another host's id")


def _right_id(hosts: Hosts, host: SimHost) -> None:
    own, before = hosts.index(host) + 1, host.host_id
    host.host_id = own
    if host.on and before != own:
        host.reset("restarts with its own id")


def _starts(*, fail: bool) -> Callable[..., None]:
    def do(_hosts: Hosts, host: SimHost) -> None:
        host.libvirt.start_fails = fail

    return do


def _slow(_hosts: Hosts, host: SimHost, seconds: float) -> None:
    host.path.slow_seconds = seconds


def _load(_hosts: Hosts, host: SimHost, share: float) -> None:
    host.cpu_load = share


def _loss(_hosts: Hosts, host: SimHost, share: float) -> None:
    host.network_share = 1.0 - share


FAULTS: tuple[Fault, ...] = (
    Fault("power-off all", "every host loses its power", _power(on=False)),
    Fault("power-on all", "every host that is off is switched on", _power(on=True)),
    Fault("power-off HOST", "it loses its power", lambda _, host: host.power_off()),
    Fault("power-on HOST", "it is switched on, if it is off", lambda _, host: host.power_on()),
    Fault("reset HOST", "its power is cut for a moment", lambda _, host: host.reset("is reset")),
    Fault(
        "shut-down HOST",
        "it is shut down as by systemctl poweroff",
        lambda _, host: host.shut_down(),
    ),
    Fault("freeze HOST", "it hangs whole; its watchdog does not", lambda _, host: host.freeze()),
    Fault("thaw HOST", "it goes on", lambda _, host: host.thaw()),
    Fault("kill-vm", "the engine VM's emulator is killed", _kill_vm),
    Fault("vanish-vm", "the engine VM is gone, and libvirt tells nobody", _vanish),
    Fault("stop-engine", "the engine's service in the running VM stops", _sicken),
    Fault(
        "break-engine",
        "the engine's service does not come up any more, wherever the VM is started",
        lambda hosts: _sicken(hosts, broken=True),
    ),
    Fault("heal-engine", "the engine's service is well again", _heal),
    Fault("hang-engine-shutdown", "the running VM ignores its power button", _hang_shutdown),
    Fault("start-fails HOST", "libvirt cannot start the VM there", _starts(fail=True)),
    Fault("start-works HOST", "libvirt can start the VM there", _starts(fail=False)),
    Fault(
        "migrate HOST HOST",
        "the running VM is migrated from the first",
        lambda _, a, b: migrate(a, b),
    ),
    Fault(
        "libvirt-lost HOST",
        "libvirt does not answer; the VM runs on",
        lambda _, host: host.libvirt.fall_silent(),
    ),
    Fault(
        "libvirt-back HOST", "libvirt answers again", lambda _, host: host.libvirt.answer_again()
    ),
    Fault("gateway-lost HOST", "the network test fails", _set(network_share=0.0)),
    Fault(
        "gateway-refused HOST",
        "the network test fails at once, as without a route",
        _set(network_share=0.0, refused=True),
    ),
    Fault("gateway-back HOST", "the network test succeeds", _set(network_share=1.0, refused=False)),
    Fault("packet-loss HOST SHARE", "that share of the network tests fails", _loss),
    Fault("network-cut HOST", "its cable is pulled; storage has another", _set(uplink=False)),
    Fault("network-back HOST", "its cable is plugged in", _set(uplink=True)),
    Fault("bridge-down HOST", "the management bridge is down", _set(bridge=False)),
    Fault("bridge-up HOST", "the management bridge is up", _set(bridge=True)),
    Fault(
        "storage-lost HOST",
        "all that it asks of the storage hangs",
        lambda _, host: host.path.lose(),
    ),
    Fault(
        "storage-error HOST",
        "all that it asks of the storage is refused",
        lambda _, host: host.path.refuse(),
    ),
    Fault("storage-slow HOST SECONDS", "the storage takes so long for all that it asks", _slow),
    Fault(
        "storage-back HOST", "the storage answers as before", lambda _, host: host.path.restore()
    ),
    Fault(
        "lose-write HOST",
        "its next write to the whiteboard is lost",
        lambda _, host: host.path.lose_a_write(),
    ),
    Fault(
        "tear-write HOST",
        "its next write to the whiteboard is torn",
        lambda _, host: host.path.tear_a_write(),
    ),
    Fault("garbage NUMBER", "that block of the whiteboard becomes garbage", _garbage),
    Fault("too-new NUMBER", "that block is of a version to come", _too_new),
    Fault("empty-block NUMBER", "that block is emptied", _empty),
    Fault("mend-block NUMBER", "that block is emptied, if nobody can read it", _mend_block),
    Fault("corrupt-lockspace", "the whiteboard's lockspace becomes garbage", _corrupt_lockspace),
    Fault("mend-lockspace", "it is written anew, if it is garbage", _mend_lockspace),
    Fault("kill-agent HOST", "the agent is killed", lambda _, host: host.agent.kill()),
    Fault("kill-broker HOST", "the broker is killed", lambda _, host: host.broker.kill()),
    Fault("stop-agent HOST", "the agent is stopped", lambda _, host: host.agent.stop()),
    Fault("start-agent HOST", "the agent is started", lambda _, host: host.agent.start()),
    Fault("stop-broker HOST", "the broker is stopped", lambda _, host: host.broker.stop()),
    Fault("start-broker HOST", "the broker is started", lambda _, host: host.broker.start()),
    Fault("hang-broker HOST", "the broker takes requests and never answers", _set(hangs=True)),
    Fault("resume-broker HOST", "the broker answers again", _set(hangs=False)),
    Fault("disk-full HOST", "nothing can be written on its own disk", _set(disk_full=True)),
    Fault("disk-freed HOST", "its own disk has room again", _set(disk_full=False)),
    Fault(
        "clock-jump HOST OFFSET",
        "its wall clock is set by so much",
        lambda _, host, seconds: host.time.jump(seconds),
    ),
    Fault(
        "clock-drift HOST PPM",
        "its clocks run so many parts per million faster",
        lambda _, host, ppm: host.time.drift(ppm),
    ),
    Fault("duplicate-id HOST", "it is configured with the next host's id, and reset", _duplicate),
    Fault("right-id HOST", "it is configured with its own id, and reset if it was not", _right_id),
    Fault(
        "maintenance global|none",
        "global maintenance is set or ended",
        lambda hosts, mode: set_global_maintenance(hosts, mode == "global"),
    ),
    Fault(
        "local-maintenance HOST on|off",
        "its ha.conf is written",
        lambda _, host, word: host.set_local_maintenance(word == "on"),
    ),
    Fault("cpu-load HOST SHARE", "that share of its processors is in use", _load),
    Fault("low-memory HOST", "it has no room for the VM", _set(memory_free_mib=LOW_MEMORY_MIB)),
    Fault("enough-memory HOST", "it has", _set(memory_free_mib=ENOUGH_MEMORY_MIB)),
)


def do_fault(hosts: Hosts, words: str) -> None:
    """Do what the words say. Raises UnknownFault."""
    fault, values = _find({host.name: host for host in hosts}, words)
    fault.do(hosts, *values)


def check_fault(hosts: Sequence[str], words: str) -> None:
    """Check the words against a cluster of hosts with these names. Raises UnknownFault."""
    _find({name: name for name in hosts}, words)


def list_of_faults() -> str:
    """Return all faults, one a line, each with its explanation."""
    return "\n".join(f"  {fault.words:32} {fault.does}" for fault in FAULTS)


def _find(hosts: Mapping[str, object], words: str) -> tuple[Fault, list[object]]:
    given = words.split()
    alike = [fault for fault in FAULTS if fault.words.split()[0] in given[:1]]
    for fault in alike:
        pattern = fault.words.split()
        if len(pattern) == len(given):
            values = [_value(*pair, hosts) for pair in zip(pattern[1:], given[1:], strict=True)]
            if None not in values:
                return fault, [value for value in values if value != ALL]
    if alike:
        forms = " or ".join(repr(fault.words) for fault in alike)
        raise UnknownFault(f"{words!r} is not {forms}; the hosts are {', '.join(hosts)}")
    raise UnknownFault(f"No such fault: {words!r}. There are:\n{list_of_faults()}")


def _value(kind: str, word: str, hosts: Mapping[str, object]) -> object:
    """Return what a word stands for, None when it does not fit."""
    if kind == HOST:
        return hosts.get(word)
    if kind not in NUMBERS:
        return word if word in kind.split("|") else None
    least, most = NUMBERS[kind]
    try:
        value = type(least)(word)
    except ValueError:
        return None
    return value if least <= value <= most else None
