"""What wakes the agent's loop before its time: an event, or the order to stop."""

import queue
from typing import Protocol


class Bell(Protocol):
    """Rung by other threads and by signal handlers, waited on by the loop."""

    @property
    def stopped(self) -> bool:
        """Whether the loop is to end."""

    def ring(self) -> None:
        """Wake the loop."""

    def stop(self) -> None:
        """Wake the loop and have it end."""

    def wait(self, seconds: float) -> bool:
        """Wait this long or until rung; True if rung. Several rings before are one."""


class QueueBell:
    """A bell on a SimpleQueue, whose `put` may interrupt anything, so a signal handler may ring.

    With a threading.Event that would block for ever if its thread was just entering the wait.
    """

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether the loop is to end."""
        return self._stopped

    def ring(self) -> None:
        """Wake the loop."""
        self._rings.put(None)

    def stop(self) -> None:
        """Wake the loop and have it end."""
        self._stopped = True
        self.ring()

    def wait(self, seconds: float) -> bool:
        """Wait this long or until rung."""
        try:
            self._rings.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return False
        while not self._rings.empty():
            self._rings.get()
        return True
