"""What the command needs of the engine VM's consoles; the real ones are `ha.env.engine_console`."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class VncServer:
    """Where the engine VM's screen is served; `address` is what it is bound to."""

    address: str
    port: int


class Console(Protocol):
    """The engine VM's consoles on this host. Raises VmMissing, VmTrouble, VmUnreachable."""

    def vnc(self) -> VncServer | None:
        """Where its VNC server listens; None when it has none, or no port yet."""

    def set_vnc_password(self, password: str, *, valid_until: float) -> None:
        """Let the VNC server take this password until then, in seconds since 1970."""

    def attach_serial(self) -> int:
        """Connect this terminal with the serial console; return the exit code."""
