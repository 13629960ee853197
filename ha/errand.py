"""A call that may hang, made in a thread of its own and waited for only so long.

The thread is a daemon: a call that hangs in the kernel does not keep the process from ending. (One
of a ThreadPoolExecutor would: Python waits for those at exit.)
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Unfinished(Exception):
    """Raised when the call has not come back in time; it goes on in its thread."""


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
    ) -> None:
        self._name = name
        self._call = call
        self._expected = expected
        self._limit_seconds = limit_seconds
        self._guard = threading.Lock()
        self._under_way: Future[T] | None = None
        self._began = 0.0

    def begin(self) -> None:
        """Make the call, unless one is under way or its result has not been asked for."""
        self._current()

    def ask(self) -> T:
        """Return what the call gave; make it if none was made.

        Raises what the call raises, and Unfinished so long after the call was made.
        """
        future, began = self._current()
        try:
            future.exception(max(0.0, began + self._limit_seconds - time.monotonic()))
        except TimeoutError:
            message = f"{self._name} has not come back within {self._limit_seconds:g} s"
            raise Unfinished(message) from None
        with self._guard:
            if self._under_way is future:
                self._under_way = None
        return future.result()

    def _current(self) -> tuple[Future[T], float]:
        with self._guard:
            if self._under_way is None:
                self._under_way, self._began = Future(), time.monotonic()
                threading.Thread(
                    target=self._run, args=(self._under_way,), name=self._name, daemon=True
                ).start()
            return self._under_way, self._began

    def _run(self, future: Future[T]) -> None:
        try:
            future.set_result(self._call())
        except self._expected as error:
            future.set_exception(error)
        finally:
            if not future.done():
                future.cancel()  # nobody waits for what an unforeseen error has ended
