"""Time and threads as ports: every wait of the monitor is here, so that a simulator may own it."""

from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """The two clocks of a host and the only way to wait."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point, never set back while the host is up."""

    def wall(self) -> float:
        """Seconds since 1970, for display only."""

    def sleep(self, seconds: float) -> None:
        """Wait this long."""


class Flag(Protocol):
    """What one thread raises and others wait for."""

    def set(self) -> None:
        """Raise it, and wake who waits."""

    def clear(self) -> None:
        """Lower it."""

    def is_set(self) -> bool:
        """Whether it is raised."""

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is raised, so long at most (None: for ever); return whether it is."""


class Threads(Protocol):
    """The threads of a process. A lock held for a moment only, without a wait, needs no port."""

    def start(self, name: str, target: Callable[[], None]) -> None:
        """Run it in a thread of its own, which does not keep the process from ending."""

    def flag(self) -> Flag:
        """Return a new flag, not raised."""
