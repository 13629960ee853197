"""Mail about what happens, sent from a thread of its own so that nothing waits for a mail server.

Settings, template and filter are upstream's: an event is mailed when its pattern in broker.conf
is found in the detail.
"""

import logging
import queue
import re
import smtplib
import socket
import threading
import time
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol

QUEUE_LIMIT = 64
FAILURE_LOG_SECONDS = 300.0
TEMPLATE = """From: {source-email}
To: {destination-emails}
Subject: Hosted engine: {detail} on {hostname}

The host {hostname} reports: {detail}
"""

log = logging.getLogger(__name__)


class MailSettings(Protocol):
    """What broker.conf says."""

    @property
    def smtp_server(self) -> str: ...
    @property
    def smtp_port(self) -> int: ...
    @property
    def smtp_timeout_seconds(self) -> float: ...
    @property
    def source_email(self) -> str: ...
    @property
    def destination_emails(self) -> tuple[str, ...]: ...
    @property
    def notify(self) -> Mapping[str, str]: ...


class MailNotifier:
    """Mails events; when the mail server hangs, the oldest 64 messages wait and others are lost."""

    def __init__(self, settings: MailSettings, templates: Path) -> None:
        self._settings = settings
        self._templates = templates
        self._queue: queue.Queue[tuple[str, str]] = queue.Queue(QUEUE_LIMIT)
        self._failure_logged_at: float | None = None
        threading.Thread(target=self._send_all, name="notifier", daemon=True).start()

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Queue a mail if broker.conf asks for this event; never blocks, never raises."""
        del since  # upstream's mail has no place for it
        pattern = self._settings.notify.get(event)
        if pattern is None or not re.search(pattern, detail.lower()):
            return
        try:
            self._queue.put_nowait((event, " ".join(detail.split())))
        except queue.Full:
            self._log_failure(f"{QUEUE_LIMIT} messages are waiting already")

    def _message(self, event: str, detail: str) -> EmailMessage:
        try:
            template = (self._templates / f"{event}.txt").read_text(encoding="utf-8")
        except OSError:
            template = TEMPLATE
        words = {
            "{source-email}": self._settings.source_email,
            "{destination-emails}": ", ".join(self._settings.destination_emails),
            "{hostname}": socket.gethostname(),
            "{detail}": detail,
        }
        # Not str.format: a stray brace in an operator's template must not stop the broker.
        for word, value in words.items():
            template = template.replace(word, value)
        head, _, body = template.partition("\n\n")
        message = EmailMessage()
        for line in head.splitlines():
            name, _, value = line.partition(":")
            message[name.strip()] = value.strip()
        message.set_content(body)
        return message

    def _send_all(self) -> None:
        while True:
            event, detail = self._queue.get()
            try:
                self._send(self._message(event, detail))
            except (OSError, ValueError, smtplib.SMTPException) as trouble:
                self._log_failure(str(trouble))
            finally:
                self._queue.task_done()

    def _send(self, message: EmailMessage) -> None:
        settings = self._settings
        with smtplib.SMTP(
            settings.smtp_server, settings.smtp_port, timeout=settings.smtp_timeout_seconds
        ) as server:
            server.send_message(message, settings.source_email, list(settings.destination_emails))

    def _log_failure(self, why: str) -> None:
        now = time.monotonic()
        last = self._failure_logged_at
        if last is None or now - last >= FAILURE_LOG_SECONDS:
            self._failure_logged_at = now
            log.error("Failed to send a notification: %s", why)
