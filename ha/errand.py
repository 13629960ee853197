"""A call that may hang, made in a thread of its own and waited for only so long.

The thread is a daemon: a call that hangs in the kernel does not keep the process from ending.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from ha.env.time_ports import Clock, Flag, Threads

T = TypeVar("T")


class Unfinished(Exception):
    """Raised when the call has not come back in time; it goes on in its thread."""


class Broken(Exception):
    """Raised when the call ended with an error that was not expected."""


@dataclass(slots=True)
class _Trip(Generic[T]):
    """One call under way; `answer` gives its result, or raises what the call raised."""

    began: float
    over: Flag
    answer: Callable[[], T]


class Errand(Generic[T]):
    """One call at a time: while it is under way it is waited for again, and not made twice.

    `expected` is the trouble that is handed to whoever asks; any other ends the thread loudly.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[], T],
        expected: type[Exception],
        limit_seconds: float,
        *,
        clock: Clock,
        threads: Threads,
    ) -> None:
        self._name = name
        self._call = call
        self._expected = expected
        self._limit_seconds = limit_seconds
        self._clock = clock
        self._threads = threads
        self._guard = threading.Lock()
        self._under_way: _Trip[T] | None = None

    def begin(self) -> None:
        """Make the call, unless one is under way or its result has not been asked for."""
        self._current()

    def ask(self) -> T:
        """Return what the call gave; make it if none was made.

        Raises what the call raises, Broken if that was not expected, and Unfinished so long after
        the call was made.
        """
        trip = self._current()
        gone_seconds = self._clock.monotonic() - trip.began
        if not trip.over.wait(max(0.0, self._limit_seconds - gone_seconds)):
            raise Unfinished(f"{self._name} has not come back within {self._limit_seconds:g} s")
        with self._guard:
            if self._under_way is trip:
                self._under_way = None
        return trip.answer()

    def _current(self) -> _Trip[T]:
        with self._guard:
            if self._under_way is None:
                began, over = self._clock.monotonic(), self._threads.flag()
                trip: _Trip[T] = _Trip(began, over, self._broken)
                self._under_way = trip
                self._threads.start(self._name, lambda: self._run(trip))
            return self._under_way

    def _run(self, trip: _Trip[T]) -> None:
        try:
            result = self._call()
            trip.answer = lambda: result
        except self._expected as error:
            trip.answer = _raises(error)
        finally:
            trip.over.set()

    def _broken(self) -> NoReturn:
        raise Broken(f"{self._name} has ended with an error that was not expected")


def _raises(error: Exception) -> Callable[[], NoReturn]:
    def answer() -> NoReturn:
        raise error

    return answer
