"""The door of a simulated cluster: a FIFO in its folder, at which commands on its hosts ask.

A request is a count and so many words, each ended by NUL; the first word names the FIFO below
`answers/` that takes the answer. A shell can do that by itself: it starts nothing but mkfifo.
"""

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from ha.simulator.door.desk import Desk
from ha.simulator.door.folder import Folder
from ha.simulator.processes import SimulationError

READ_BYTES = 65_536
LOOK_SECONDS = 0.002
GONE_SECONDS = 5.0
"""Who has not opened its FIFO by then was killed."""


class Door:
    """Listens from `with` to its end."""

    def __init__(self, folder: Folder, desk: Desk) -> None:
        self._folder = folder
        self._desk = desk
        folder.answers.mkdir(mode=0o700, exist_ok=True)
        folder.door.unlink(missing_ok=True)
        os.mkfifo(folder.door, 0o600)
        # Open for both: so there is always a reader, and never an end.
        self._requests = os.open(folder.door, os.O_RDWR | os.O_CLOEXEC)
        self._listener = threading.Thread(target=self._listen, name="door", daemon=True)

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.door.unlink(missing_ok=True)
        os.write(self._requests, b"0\0")
        self._listener.join()
        os.close(self._requests)
        self._desk.end_all()

    def _listen(self) -> None:
        for words in _messages(self._requests):
            if not words:
                return
            answer, *request = words
            asker = threading.Thread(target=self._answer, args=(answer, request), daemon=True)
            asker.start()

    def _answer(self, name: str, request: list[str]) -> None:
        place = self._folder.answers / name
        try:
            # What ends the simulation is the desk's to tell.
            with suppress(SimulationError, OSError):
                said = self._desk.answer(request)
                with os.fdopen(_opened(place), "wb") as out:
                    out.write(said)
        finally:
            place.unlink(missing_ok=True)


def _messages(requests: int) -> Iterator[list[str]]:
    """Yield what is asked; an empty one is the last. Requests come whole, as they are short."""
    words: list[str] = []
    rest = b""
    while True:
        *parts, rest = (rest + os.read(requests, READ_BYTES)).split(b"\0")
        words += [part.decode("utf-8", "surrogateescape") for part in parts]
        while words and len(words) > int(words[0]):
            count = int(words[0])
            yield words[1 : count + 1]
            del words[: count + 1]


def _opened(place: os.PathLike[str]) -> int:
    """Open a FIFO that somebody is about to read. Raises OSError when nobody is."""
    until = time.monotonic() + GONE_SECONDS
    while True:
        try:
            file = os.open(place, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > until:
                raise
            time.sleep(LOOK_SECONDS)
        else:
            os.set_blocking(file, True)
            return file
