"""What the broker measures of itself: requests to the shared storage, and what it was told of."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ha.env.ports import Whiteboard, WhiteboardFailed


@dataclass(frozen=True, slots=True)
class Times:
    """The requests of one operation; `waiting_seconds` 0.0 when none is under way."""

    count: int = 0
    total_seconds: float = 0.0
    last_seconds: float | None = None
    failures: int = 0
    waiting_seconds: float = 0.0


class Stopwatch:
    """Times requests by operation; safe to use from several threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._times: dict[str, Times] = {}
        self._under_way: dict[object, tuple[str, float]] = {}

    @contextmanager
    def request(self, operation: str) -> Iterator[None]:
        """Time what is done within; WhiteboardFailed counts as a failure."""
        ticket, began = object(), self._monotonic()
        with self._guard:
            self._under_way[ticket] = operation, began
        failed = 0
        try:
            yield
        except WhiteboardFailed:
            failed = 1
            raise
        finally:
            took_seconds = self._monotonic() - began
            with self._guard:
                del self._under_way[ticket]
                old = self._times.get(operation, Times())
                self._times[operation] = Times(
                    old.count + 1,
                    old.total_seconds + took_seconds,
                    took_seconds,
                    old.failures + failed,
                )

    def times(self) -> Mapping[str, Times]:
        """Return what is known of each operation that was asked for."""
        now = self._monotonic()
        with self._guard:
            found = dict(self._times)
            for operation, began in self._under_way.values():
                old = found.get(operation, Times())
                waiting_seconds = max(old.waiting_seconds, now - began)
                found[operation] = replace(old, waiting_seconds=waiting_seconds)
        return found


class TimedWhiteboard:
    """A whiteboard whose requests are timed."""

    def __init__(self, whiteboard: Whiteboard, stopwatch: Stopwatch) -> None:
        self._whiteboard = whiteboard
        self._stopwatch = stopwatch

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        """Read, as "read_all" when it is the whole range."""
        with self._stopwatch.request("read_all" if host_ids is None else "read"):
            return self._whiteboard.read_blocks(host_ids)

    def write_block(self, host_id: int, block: bytes) -> None:
        """Write one block, which includes reading it back."""
        with self._stopwatch.request("write"):
            self._whiteboard.write_block(host_id, block)


class Tally:
    """Counts what is notified; a notifier like the others, and none of them has to know."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._told: Counter[tuple[str, str]] = Counter()

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Count a change of state by its detail, an anomaly by its kind."""
        del since
        name, _, kind = event.partition(".")
        with self._guard:
            self._told[name, kind or detail] += 1

    def told(self, name: str) -> Mapping[str, int]:
        """Return how often each was told."""
        with self._guard:
            return {what: count for (event, what), count in self._told.items() if event == name}
