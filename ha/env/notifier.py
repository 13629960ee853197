"""Mail about what happens, sent from a thread of its own so that nothing waits for a mail server.

Settings, template and filter are upstream's: an event is mailed when its pattern in broker.conf
is found in the detail. What comes again and again is one mail and a sum (`ha.repeats`).
"""

import logging
import re
import smtplib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ha.config import ConfigError
from ha.env.mail import MailSettings, Refused, message_of, send
from ha.env.outbox import Outbox
from ha.env.ports import Notifier
from ha.plain import one_line
from ha.repeats import Note, Repeats

QUEUE_LIMIT = 64
RETRY_SECONDS = 60.0
FAILURE_LOG_SECONDS = 300.0
DETAIL_BYTES = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Mail:
    event: str
    detail: str
    wall_seconds: float


class MailNotifier:
    """Mails events; while no mail server takes them, the newest 64 messages wait."""

    def __init__(
        self, settings: MailSettings, templates: Path, *, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._settings = settings
        self._templates = templates
        self._repeats = Repeats(settings.repeat_seconds)
        self._guard = threading.Lock()
        self._failures = FailureLog("Failed to send a notification")
        self.outbox = Outbox(
            "notifier",
            self._hand_over,
            limit=QUEUE_LIMIT,
            retry_seconds=retry_seconds,
            chore=self._sum_up,
        )
        self.outbox.start()

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Queue a mail if broker.conf asks for this event; never blocks, never raises."""
        del since  # upstream's mail has no place for it
        if not self._wanted(event, detail):
            return
        with self._guard:
            notes = self._repeats.came((event, one_line(detail, DETAIL_BYTES)), time.monotonic())
        self._queue(notes)

    def _wanted(self, event: str, detail: str) -> bool:
        """Whether its pattern is found; `anomaly` has that of all anomalies without an own one."""
        patterns, (kind, _, subject) = self._settings.notify, event.partition(".")
        if event in patterns:
            return bool(re.search(patterns[event], detail.lower()))
        words = f"{subject} {detail}".lower()
        return bool(subject and kind in patterns and re.search(patterns[kind], words))

    def _sum_up(self) -> float | None:
        """Queue the sums of what is over; return in how many seconds the next may be."""
        with self._guard:
            notes = self._repeats.over(time.monotonic())
            due = self._repeats.next_over()
        self._queue(notes)
        return None if due is None else max(0.0, due - time.monotonic())

    def _queue(self, notes: Sequence[Note]) -> None:
        epoch = time.time() - time.monotonic()
        for note in notes:
            event, detail = note.key
            mail = _Mail(event, detail + _how_often(note, epoch), epoch + note.last)
            if self.outbox.put(mail) is not None:
                self._failures.say(f"{QUEUE_LIMIT} messages are waiting already")

    def _hand_over(self, mail: _Mail) -> bool:
        template = self._templates / f"{mail.event}.txt"
        try:
            message = message_of(
                self._settings, template, detail=mail.detail, wall_seconds=mail.wall_seconds
            )
            send(self._settings, message)
        except (Refused, ValueError) as trouble:
            self._failures.say(f"{mail.detail}: {trouble}")
        except (OSError, ConfigError, smtplib.SMTPException) as trouble:
            self._failures.say(str(trouble))
            return False
        return True


def _how_often(note: Note, epoch: float) -> str:
    if note.count == 1:
        return ""
    first, last = (
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch + at))
        for at in (note.first, note.last)
    )
    if note.over:
        return f" ({note.count} times from {first} to {last}, and no more since)"
    return f" ({note.count} times since {first}, and it goes on)"


class FailureLog:
    """Logs trouble that repeats at most every five minutes."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said_at: float | None = None

    def say(self, why: str) -> None:
        """Log why, unless something was logged a moment ago."""
        now = time.monotonic()
        if self._said_at is None or now - self._said_at >= FAILURE_LOG_SECONDS:
            self._said_at = now
            log.error("%s: %s", self._what, one_line(why))


class Waiting(Protocol):
    """What waits to be told, as an outbox has it."""

    @property
    def waiting(self) -> Sequence[object]:
        """What nobody has taken yet."""

    @property
    def lost(self) -> int:
        """For how many there was no room."""


class Notifiers:
    """Several notifiers as one; `outboxes` has what waits with them, by the name of the channel."""

    def __init__(
        self, notifiers: Sequence[Notifier], outboxes: Mapping[str, Waiting] | None = None
    ) -> None:
        self._notifiers = tuple(notifiers)
        self.outboxes = outboxes or {}

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Tell all of them."""
        for notifier in self._notifiers:
            notifier.notify(event, detail, since)
