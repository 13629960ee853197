"""What a failed installation of hosted engine has left on a host: the list, and how it reads."""

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.hosts import AGENT, BROKER
from tasks.metadata import CONF

ENGINE_VMS = ("HostedEngine", "HostedEngineLocal")
UNITS = (AGENT, BROKER, "vdsmd", "supervdsmd", "momd")
PACKAGES = ("ovirt-hosted-engine-setup", "ovirt-hosted-engine-ha")
ANSWERS = "/etc/ovirt-hosted-engine/answers.conf"
KEPT_ANSWERS = "/var/lib/ovirt-hosted-engine-setup/answers/"
BOOTSTRAP_VM = "/var/tmp/localvm"
PREPARED = "/run/vdsm/storage/"
FILES = (
    CONF,
    ANSWERS,
    "/var/lib/ovirt-hosted-engine-ha/ha.conf",
    "/var/lib/ovirt-hosted-engine-ha/broker.conf",
    "/run/ovirt-hosted-engine-ha/vm.conf",
)


@dataclass(frozen=True, slots=True)
class Claims:
    """What the failed installation's own files say; `source` is the file with the last word."""

    source: str = ""
    storage_domain: str = ""
    domain_type: str = ""
    storage: str = ""
    host_id: int | None = None
    vmid: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A file or directory that is to go."""

    kind: str
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM that libvirt knows."""

    name: str
    state: str

    @property
    def runs(self) -> bool:
        """Whether it has a process; an unknown state counts as one."""
        return self.state != "shut off"


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit."""

    name: str
    active: str
    enabled: str

    @property
    def off(self) -> bool:
        """Whether it neither runs nor starts with the host."""
        return self.active in ("inactive", "failed", "unknown") and self.enabled != "enabled"


@dataclass(frozen=True, slots=True)
class Lockspace:
    """A lockspace that sanlock has joined here; `spec` is as sanlock prints and takes it."""

    spec: str

    @property
    def name(self) -> str:
        """The lockspace's name."""
        return self.spec.split(":", 1)[0]

    @property
    def host_id(self) -> int:
        """The host id under which it is joined; 0 if that cannot be read."""
        word = self.spec.split(":")[1] if self.spec.count(":") else ""
        return int(word) if word.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Remains:
    """The whole list, as it was at one moment."""

    cluster: str
    host: str
    claims: Claims
    items: tuple[Item, ...]
    vms: tuple[Vm, ...]
    units: tuple[Unit, ...]
    lockspaces: tuple[Lockspace, ...]
    leases: tuple[str, ...]
    packages: tuple[str, ...]
    is_node: bool

    @property
    def own_vms(self) -> tuple[Vm, ...]:
        """The engine's VM and its bootstrap."""
        return tuple(vm for vm in self.vms if vm.name in ENGINE_VMS)

    @property
    def foreign_vms(self) -> tuple[Vm, ...]:
        """Other VMs that run here."""
        return tuple(vm for vm in self.vms if vm.name not in ENGINE_VMS and vm.runs)

    @property
    def on_units(self) -> tuple[Unit, ...]:
        """The units that run or start with the host."""
        return tuple(unit for unit in self.units if not unit.off)

    @property
    def own_lockspaces(self) -> tuple[Lockspace, ...]:
        """The lockspaces of the failed installation's storage domain."""
        domain = self.claims.storage_domain
        return tuple(each for each in self.lockspaces if domain and domain in each.spec)

    @property
    def empty(self) -> bool:
        """Whether nothing is left that would have to go."""
        return not (self.items or self.own_vms or self.on_units or self.own_lockspaces)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """What would have to go, in the order in which it goes: units, VMs, lockspaces, files."""
        vms = [(f"VM {vm.name}", f"running VM {vm.name}")[: 1 + vm.runs] for vm in self.own_vms]
        return (
            tuple(f"unit {unit.name}" for unit in self.on_units),
            tuple(mark for marks in vms for mark in marks),
            tuple(f"lockspace {each.spec}" for each in self.own_lockspaces),
            tuple(f"{item.kind} {item.path}" for item in self.items),
        )

    def left(self) -> Iterator[str]:
        """Yield what is there, one line each."""
        yield from (f"{item.kind} {item.path}" for item in self.items)
        yield from (f"VM {vm.name} ({vm.state})" for vm in self.own_vms)
        yield from (f"unit {unit.name} ({unit.active}, {unit.enabled})" for unit in self.on_units)
        yield from (f"lockspace {each.spec}" for each in self.own_lockspaces)


def remains_markdown(remains: Remains) -> str:
    """Return the list in Markdown."""
    said = remains.claims
    domain = f"`{said.storage_domain}` ({said.source})" if said.storage_domain else "not known"
    lines = [
        f"- storage domain of the failed installation: {domain}, on {said.storage or 'unknown'}",
        f"- host id: {said.host_id or 'not known'}; engine VM: {said.vmid or 'not known'}",
        "\n| what | place | size |",
        "|---|---|---|",
        *(f"| {each.kind} | `{each.path}` | {each.size_bytes} bytes |" for each in remains.items),
        *(f"| VM | {vm.name} | {vm.state} |" for vm in remains.own_vms),
        *(f"| unit | {u.name} | {u.active}, {u.enabled} |" for u in remains.on_units),
        *(f"| lockspace | `{each.spec}` | |" for each in remains.own_lockspaces),
        "\nKept: the logs, the answers of all attempts below "
        f"`{KEPT_ANSWERS}`, the packages ({', '.join(remains.packages) or 'none found'}).",
    ]
    return "\n".join(lines)
