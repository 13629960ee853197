"""Ask all hosts of a cluster at once, and one host how it is."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from tasks.absent import absent
from tasks.env import Ran, Shell, world
from tasks.refusal import NotKnown

HA_CONF = "/var/lib/ovirt-hosted-engine-ha/ha.conf"
AGENT = "ovirt-ha-agent"
BROKER = "ovirt-ha-broker"
STOPPED = ("inactive", "failed")
MOST_AT_ONCE = 16

UNANSWERED = "unanswered"  # libvirt did not say whether it has the engine VM

# rpm prints "is not installed" to stdout, so its exit code decides. virsh -r reads only, and names
# states in the host's language. It ends alike for a domain that is not there and for a libvirt that
# does not answer: that the domain is not there must be seen in the list. A QEMU outlives its
# libvirtd, named "guest=HostedEngine,..." by it, "HostedEngine" by that of el6; the bracket keeps
# this script itself out of what is found.
LOOK_AT_HOST = """
LC_ALL=C; export LC_ALL
echo "agent=$(systemctl is-active ovirt-ha-agent)"
echo "broker=$(systemctl is-active ovirt-ha-broker)"
version=$(rpm -q --qf '%{VERSION}-%{RELEASE}' ovirt-hosted-engine-ha 2>/dev/null) ||
  version=$(hosted-engine --version 2>/dev/null) || version=unknown
echo "version=$version"
if grep -Eiq '^ *local_maintenance(_manual)? *= *true' "$1" 2>/dev/null
then echo local_maintenance=yes; else echo local_maintenance=no; fi
domain=unknown
if command -v virsh >/dev/null && ! domain=$(timeout 20 virsh -r domstate HostedEngine 2>/dev/null)
then
  if names=$(timeout 20 virsh -r list --all --name 2>/dev/null) &&
    ! printf '%s\n' "$names" | grep -qx HostedEngine
  then domain=; else domain=unanswered; fi
fi
case $domain in
  ''|unknown|unanswered|"shut off")
    if pgrep -f -- '-name (guest=)?[H]ostedEngine(,| )' >/dev/null; then domain=running; fi ;;
esac
echo "domain=$domain"
"""

T = TypeVar("T")


class EngineUnknown(NotKnown):
    """Libvirt on a host does not say whether it has the engine VM."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"libvirt on {host} does not answer: whether the engine VM runs there is unknown",
            f"on {host}: virsh -r list --all; see to libvirtd (or virtqemud), then try again",
        )


@dataclass(frozen=True, slots=True)
class HostLook:
    """One host, as it was at one moment."""

    host: str
    host_id: int
    agent: str
    broker: str
    version: str
    local_maintenance: bool
    domain: str

    @property
    def stopped(self) -> bool:
        """Whether agent and broker are both down, and not about to be restarted."""
        return self.agent in STOPPED and self.broker in STOPPED

    @property
    def runs_engine(self) -> bool:
        """Whether this host has the engine VM, running or paused.

        Raises EngineUnknown where libvirt does not answer: that is no "no".
        """
        if self.domain == UNANSWERED:
            raise EngineUnknown(self.host)
        return self.may_run_engine

    @property
    def may_run_engine(self) -> bool:
        """Whether this host has the engine VM, or cannot tell."""
        return self.domain not in ("", "unknown", "shut off")


def host_names(cluster: str) -> tuple[str, ...]:
    """Return the names of the cluster's hosts, in the inventory's order; not those that are off."""
    names = (host.name for host in world().inventory.cluster(cluster).hosts)
    return tuple(name for name in names if name not in absent())


def host_ids(cluster: str) -> dict[int, str]:
    """Return the inventory's host ids with the names of their hosts."""
    return {host.host_id: host.name for host in world().inventory.cluster(cluster).hosts}


def sh(script: str, *arguments: str) -> tuple[str, ...]:
    """Return the argv that runs a constant script with its arguments, never pasted into it."""
    return ("sh", "-c", script, "sh", *arguments)


def on_all(cluster: str, ask: Callable[[Shell], T]) -> dict[str, T]:
    """Ask all hosts at the same time and return the answers by host name.

    Raises what `ask` raises, for the first host in the inventory's order.
    """
    shells = [world().shell(cluster, name) for name in host_names(cluster)]
    with ThreadPoolExecutor(max_workers=min(len(shells), MOST_AT_ONCE)) as pool:
        answers = list(pool.map(ask, shells))
    return {shell.host: answer for shell, answer in zip(shells, answers, strict=True)}


def look_at_host(cluster: str, host: str, timeout_seconds: float) -> HostLook:
    """Return how one host is now."""
    shell = world().shell(cluster, host)
    host_id = world().inventory.cluster(cluster).host(host).host_id
    return _look(host_id, shell.run(sh(LOOK_AT_HOST, HA_CONF), timeout_seconds=timeout_seconds))


def look_at_hosts(cluster: str, timeout_seconds: float) -> tuple[HostLook, ...]:
    """Return how all hosts of a cluster are now, in the inventory's order."""
    ids = {name: host_id for host_id, name in host_ids(cluster).items()}
    argv = sh(LOOK_AT_HOST, HA_CONF)
    ran = on_all(cluster, lambda shell: shell.run(argv, timeout_seconds=timeout_seconds))
    return tuple(_look(ids[host], each) for host, each in ran.items())


def _look(host_id: int, ran: Ran) -> HostLook:
    told = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    return HostLook(
        host=ran.host,
        host_id=host_id,
        agent=told.get("agent") or "unknown",
        broker=told.get("broker") or "unknown",
        version=told.get("version") or "unknown",
        local_maintenance=told.get("local_maintenance") == "yes",
        domain=told.get("domain", "unknown").strip(),
    )
