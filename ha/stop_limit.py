"""The end of a daemon that was told to end and does not."""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

FAILURE = 1


class StopLimit:
    """Ends the process so long after `begin`, unless it has ended by itself.

    systemd would end it too, but after its limit nobody can say any more what was left undone. The
    thread is made beforehand and waits on a SimpleQueue, so that `begin` may be called by a signal
    handler: it takes no lock.
    """

    def __init__(self, limit_seconds: float, end: Callable[[], None] | None = None) -> None:
        self._limit_seconds = limit_seconds
        self._end = end or self._end_process
        self._begun: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="stop-limit", daemon=True).start()

    def begin(self) -> None:
        """Let the time run; only the first call counts."""
        self._begun.put(None)

    def _run(self) -> None:
        self._begun.get()
        time.sleep(self._limit_seconds)
        self._end()

    def _end_process(self) -> None:
        log.critical(
            "The daemon has not ended within %g s of being told to, and is ended now; the"
            " whiteboard may not say that it has stopped",
            self._limit_seconds,
        )
        logging.shutdown()
        os._exit(FAILURE)
