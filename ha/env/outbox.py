"""Messages that wait to be handed over, by a thread of its own, so that nobody waits for it."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """Hands over in order; what is not taken stays the first and is tried again.

    At most `limit` wait. When there are more, the oldest that `may_go` says may go makes room; if
    there is none, the new one is lost. `chore` is done by the thread now and then: it returns after
    how many seconds it wants to be called again, None: not before something was put in.
    """

    def __init__(
        self,
        name: str,
        hand_over: Callable[[T], bool],
        *,
        limit: int,
        retry_seconds: float,
        may_go: Callable[[T], bool] = lambda _: True,
        chore: Callable[[], float | None] = lambda: None,
        changed: Callable[[], None] = lambda: None,
        first: Iterable[T] = (),
    ) -> None:
        """`hand_over` tells whether it is done with an item; `first` are there from the start.

        `changed` is called after what waits is no longer the same.
        """
        self._hand_over = hand_over
        self._limit = limit
        self._retry_seconds = retry_seconds
        self._may_go = may_go
        self._chore = chore
        self._tell_changed = changed
        self._waiting: deque[T] = deque(first, maxlen=limit)
        self._changed = threading.Condition()
        self._lost = 0
        self._name = name

    def start(self) -> None:
        """Begin to hand over."""
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    @property
    def waiting(self) -> tuple[T, ...]:
        """What has not been taken yet, in order."""
        with self._changed:
            return tuple(self._waiting)

    @property
    def lost(self) -> int:
        """How many had to make room, or found none."""
        return self._lost

    def put(self, item: T) -> T | None:
        """Add an item; never blocks. Returns what was lost by that, if anything."""
        lost: T | None = None
        with self._changed:
            if len(self._waiting) >= self._limit:
                lost = next((one for one in self._waiting if self._may_go(one)), item)
                self._lost += 1
                if lost is item:
                    return item
                self._waiting.remove(lost)
            self._waiting.append(item)
            self._changed.notify()
        self._tell_changed()
        return lost

    def _run(self) -> None:
        while True:
            pause_seconds = self._chore()
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting), pause_seconds)
                item = self._waiting[0] if self._waiting else None
            if item is None:
                continue
            if not self._hand_over(item):
                time.sleep(self._retry_seconds)
                continue
            with self._changed:
                # It may have made room for another meanwhile.
                kept = [one for one in self._waiting if one is not item]
                self._waiting = deque(kept, maxlen=self._limit)
            self._tell_changed()
