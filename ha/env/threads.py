"""The threads of this process."""

import threading
from collections.abc import Callable

from ha.env.time_ports import Flag


class HostThreads:
    """Threads of Python; flags are its events."""

    def start(self, name: str, target: Callable[[], None]) -> None:
        """Run it in a daemon thread: one that hangs does not keep the process from ending."""
        threading.Thread(target=target, name=name, daemon=True).start()

    def flag(self) -> Flag:
        """Return a new event."""
        return threading.Event()
