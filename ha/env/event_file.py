"""The events that Prefect has not taken yet, kept in a small file over a restart of the broker.

The file is replaced in one step and synced, by a thread of its own: a disk that hangs or is full
costs this memory, never an event that the process still has.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ha.whole_file import write_whole

FORMAT = "hosted-engine-events-1"
MOST_BYTES = 512 * 1024
MODE = 0o600
RETRY_SECONDS = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """One event, ready to be posted; its `body` has its id, so a second post is the same event."""

    name: str
    is_anomaly: bool
    body: str
    """JSON, as Prefect's API takes it: a list of one object."""


class EventFile:
    """The file at a path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> tuple[Event, ...]:
        """Return what was saved last; what is no such file is told and set aside."""
        try:
            with self._path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
            return _events_of(data)
        except FileNotFoundError:
            return ()
        except OSError as error:
            log.error("%s: the events in it are lost: %s", self._path, error.strerror)
        except (ValueError, RecursionError) as error:
            self._set_aside(str(error))
        return ()

    def save(self, events: Sequence[Event]) -> None:
        """Replace the file; it is on the disk when this returns. Raises OSError."""
        if not events and not self._path.exists():
            return
        rows = [[event.name, event.is_anomaly, event.body] for event in events]
        write_whole(self._path, json.dumps({"format": FORMAT, "events": rows}), mode=MODE)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _set_aside(self, why: str) -> None:
        bad = self._path.with_name(f"{self._path.name}.bad")
        log.error("%s holds no events that can be read: %s; it is now %s", self._path, why, bad)
        try:
            self._path.replace(bad)
        except OSError as error:
            log.error("%s cannot be set aside: %s", self._path, error.strerror)


class EventKeeper:
    """Saves what waits whenever it has changed, in a thread of its own."""

    def __init__(self, file: EventFile, waiting: Callable[[], Sequence[Event]]) -> None:
        self._file = file
        self._waiting = waiting
        self._changed = threading.Event()
        self._failed = False

    def start(self) -> None:
        """Begin to save."""
        threading.Thread(target=self._run, name="events-file", daemon=True).start()

    def changed(self) -> None:
        """Have it saved; never blocks."""
        self._changed.set()

    def _run(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            try:
                self._file.save(self._waiting())
                self._failed = False
            except OSError as error:
                if not self._failed:
                    log.error("Events that wait are not kept over a restart: %s", error)
                self._failed = True
                time.sleep(RETRY_SECONDS)
                self._changed.set()


def _events_of(data: bytes) -> tuple[Event, ...]:
    """Raises ValueError for anything but what `save` writes."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    found = json.loads(data)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    rows = found.get("events")
    if not isinstance(rows, list):
        raise ValueError("it has no list of events")
    return tuple(_event_of(row) for row in rows)


def _event_of(row: object) -> Event:
    match row:
        case [str(name), bool(is_anomaly), str(body)]:
            posted = json.loads(body)
        case _:
            raise ValueError(f"no event: {str(row)[:40]}")
    if not isinstance(posted, list) or len(posted) != 1 or not isinstance(posted[0], dict):
        raise ValueError(f"no event: {body[:40]}")
    if not isinstance(posted[0].get("id"), str):
        raise ValueError("an event without its id")
    body.encode()  # it is posted as UTF-8
    return Event(name, is_anomaly, body)
