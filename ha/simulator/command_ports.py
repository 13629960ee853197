"""Services, consoles and sanlock of a simulated host, as the product's command uses them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ha.env.console_port import VncServer
from ha.env.ports import LockspaceFailed, VmMissing
from ha.simulator.leases import Area
from ha.simulator.lockspace_sim import SimLockspace
from ha.simulator.sanlock import BAD_MAGIC
from ha.simulator.site import WHITEBOARD_SPACE

if TYPE_CHECKING:
    from ha.simulator.host import SimHost

VNC_PORT = 5900


class SimServices:
    """The services of a host, through its systemd."""

    def __init__(self, host: "SimHost") -> None:
        self._units = {unit.manner.name: unit for unit in (host.agent, host.broker)}

    def is_active(self, unit: str) -> bool:
        """Whether it runs or is about to."""
        return unit not in self._units or self._units[unit].active

    def enable_now(self, unit: str) -> None:
        """Start it now and at every boot."""
        if unit in self._units:
            self._units[unit].enabled = True
            self._units[unit].start()


class SimConsole:
    """The consoles of the engine VM on a host. Each raises VmMissing where there is none."""

    def __init__(self, host: "SimHost") -> None:
        self._host = host

    def vnc(self) -> VncServer:
        """Where the VM's VNC server listens."""
        self._require_vm()
        return VncServer("0.0.0.0", VNC_PORT)  # noqa: S104  (nothing listens: it is simulated)

    def set_vnc_password(self, password: str, *, valid_until: float) -> None:
        """Let the VNC server take a password; nobody can connect to it."""
        del password, valid_until
        self._require_vm()

    def attach_serial(self) -> int:
        """There is nobody at the terminal."""
        self._require_vm()
        return 0

    def _require_vm(self) -> None:
        if self._host.libvirt.vm is None:
            raise VmMissing("Virtual machine HostedEngine does not exist")


class SimHostSanlock:
    """The sanlock daemon of a host, as the verbs that repair use it."""

    def __init__(self, host: "SimHost") -> None:
        self._host = host

    def lockspace(self, name: str, path: Path) -> SimLockspace:
        """Return a lockspace by its name."""
        del path
        host = self._host
        return SimLockspace(host.site.schedule, host.sanlock, self._area(name))

    def initialise_lockspace(self, name: str, path: Path, *, sector_bytes: int = 512) -> None:
        """Write an empty lockspace."""
        del path, sector_bytes
        self._area(name).initialise()

    def lockspace_name(self, path: Path, *, sector_bytes: int) -> str:
        """Read the name of the whiteboard's lockspace. Raises LockspaceFailed."""
        del sector_bytes
        if not self._area(WHITEBOARD_SPACE).readable:
            raise LockspaceFailed(f"{path}: no lockspace", BAD_MAGIC)
        return WHITEBOARD_SPACE

    def joined_as(self, name: str) -> Sequence[int]:
        """The host id with which this host is in a lockspace."""
        space = self._host.sanlock.spaces.get(name)
        return () if space is None else (space.host_id,)

    def initialise_lease(self, lockspace: str, name: str, path: Path, *, offset_bytes: int) -> None:
        """Write a free lease."""
        del lockspace, name, path, offset_bytes
        self._host.site.engine.lease.owner = 0

    def _area(self, name: str) -> Area:
        site = self._host.site
        return site.whiteboard_area if name == WHITEBOARD_SPACE else site.vm_area
