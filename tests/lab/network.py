"""The lab's own network: a bridge in a namespace of its own, one cable to each host.

Nothing of it exists in the machine's own network namespace, so that no packet for a lab address
can leave by the machine's default route.
"""

from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import run

SUBNET = "10.88.0"
SERVER_ADDRESS = f"{SUBNET}.1"
ENGINE_ADDRESS = f"{SUBNET}.50"
BRIDGE = "br0"
HOST_BRIDGE = "ovirtmgmt"
NETNS_DIR = Path("/run/netns")


def host_address(host_id: int) -> str:
    """The address of the host with that id."""
    return f"{SUBNET}.{10 + host_id}"


def host_mac(host_id: int) -> str:
    """The hardware address of that host's cable, and of its bridge."""
    return f"52:54:00:88:00:{10 + host_id:02x}"


@dataclass(frozen=True, slots=True)
class Network:
    """The network of the lab with that instance id."""

    instance: str

    @property
    def netns(self) -> str:
        """Name of the namespace with the lab's bridge, where the control node's commands enter."""
        return f"he-lab-{self.instance}"

    def host_netns(self, host: str) -> str:
        """Name of the namespace of that host."""
        return f"{self.netns}-{host}"

    def inside(self, *argv: str) -> list[str]:
        """`argv`, to be run in the lab's network."""
        return ["nsenter", f"--net={NETNS_DIR / self.netns}", *argv]

    def create(self) -> None:
        """Make the lab's namespace and its bridge."""
        run(["ip", "netns", "add", self.netns])
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0")
        self._ip("addr", "add", f"{SERVER_ADDRESS}/24", "dev", BRIDGE)
        self._ip("link", "set", BRIDGE, "up")

    def add_host(self, host: str, host_id: int) -> None:
        """Make a host's namespace; its eth0 is a port of the bridge that VMs join, as in oVirt.

        A bridge without an address of its own takes the lowest of its ports'. With bad luck in the
        drawing of eth0's that is the VM's, and equal on both ends of a migration: they lose sight
        of each other until libvirt gives the migration up.
        """
        netns = self.host_netns(host)
        run(["ip", "netns", "add", netns])
        cable = self.cable(host)
        mac = ("address", host_mac(host_id))
        self._ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", *mac, "netns", netns)
        self._ip("link", "set", cable, "master", BRIDGE, "up")
        steps = (
            "link set lo up",
            f"link add {HOST_BRIDGE} address {host_mac(host_id)}"
            " type bridge stp_state 0 forward_delay 0",
            f"link set eth0 master {HOST_BRIDGE} up",
            f"addr add {host_address(host_id)}/24 dev {HOST_BRIDGE}",
            f"link set {HOST_BRIDGE} up",
            f"route add default via {SERVER_ADDRESS}",
        )
        run(["ip", "-n", netns, "-batch", "-"], stdin="\n".join(steps) + "\n")

    def cable(self, host: str) -> str:
        """Name of the host's cable at the bridge's end."""
        return f"v{host}"

    def cut(self, host: str) -> None:
        """Pull the host's cable."""
        self._ip("link", "set", self.cable(host), "down")

    def heal(self, host: str) -> None:
        """Plug the host's cable in again."""
        self._ip("link", "set", self.cable(host), "up")

    def is_cut(self, host: str) -> bool:
        """Whether the host's cable is pulled."""
        return "state DOWN" in self._ip("link", "show", self.cable(host))

    def exists(self) -> bool:
        """Whether the lab's namespace is there."""
        return (NETNS_DIR / self.netns).exists()

    def destroy(self) -> None:
        """Take the network away, also one that was only half made."""
        if not NETNS_DIR.is_dir():
            return
        for entry in sorted(NETNS_DIR.glob(f"{self.netns}*"), reverse=True):
            # A namespace deleted while a cable hangs on it frees the cable's name only later.
            run(["ip", "-n", entry.name, "link", "del", "eth0"], check=False)
            run(["ip", "netns", "del", entry.name], check=False)
            entry.unlink(missing_ok=True)

    def _ip(self, *arguments: str) -> str:
        return run(["ip", "-n", self.netns, *arguments]).stdout
