"""What libvirt tells of the engine VM on this host without being asked: it is believed at once.

The broker's monitor hears the same, but it may be asking the health page just then, which takes up
to 20 s once the engine is gone.
"""

from collections.abc import Callable

from ha.core.engine_health import Heard, hear
from ha.core.facts import EngineStatus, Monotonic
from ha.core.sighting import VmSighting


class EngineEvents:
    """Keeps the last event, and rings at each."""

    def __init__(self, now: Callable[[], Monotonic], ring: Callable[[], None]) -> None:
        """`ring` wakes the agent."""
        self._now = now
        self._ring = ring
        self.heard: Heard | None = None

    def happened(self, sighting: VmSighting) -> None:
        """Keep an event; called from libvirt's thread, so nothing here may block."""
        self.heard = Heard(sighting, self._now())
        self._ring()

    def over(self, status: EngineStatus) -> EngineStatus:
        """Return the monitor's status with what has happened since it looked."""
        return hear(status, self.heard, self._now())
