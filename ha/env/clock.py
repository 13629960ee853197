"""The host's clocks."""

import time


class HostClock:
    """CLOCK_MONOTONIC_RAW, as upstream stamps its records with, and the wall clock for display."""

    def monotonic(self) -> float:
        """Seconds since about the boot, not touched by time servers."""
        return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait this long; not at all if negative."""
        time.sleep(max(0.0, seconds))
