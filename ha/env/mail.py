"""One mail: made from its template, and given to a mail server with or without TLS and a user."""

import smtplib
import socket
import ssl
from collections.abc import Mapping
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Protocol

from ha.config_broker import secret_in

# For a host without the file that ha/host/install puts there; the same text.
TEMPLATE = """From: {source-email}
To: {destination-emails}
Subject: Hosted engine: {detail} on {hostname}

The host {hostname} reports: {detail}
"""
_REFUSED_FOR_GOOD = range(500, 600)
# What Python's parser of mail headers raises for an address that is none; found by trying.
_NO_MAIL = (ValueError, LookupError, TypeError, AttributeError, MessageError)


class MailSettings(Protocol):
    """What broker.conf says about mail."""

    @property
    def smtp_server(self) -> str: ...
    @property
    def smtp_port(self) -> int: ...
    @property
    def smtp_timeout_seconds(self) -> float: ...
    @property
    def smtp_security(self) -> str: ...
    @property
    def smtp_ca_file(self) -> Path | None: ...
    @property
    def smtp_user(self) -> str: ...
    @property
    def smtp_password_file(self) -> Path | None: ...
    @property
    def source_email(self) -> str: ...
    @property
    def destination_emails(self) -> tuple[str, ...]: ...
    @property
    def notify(self) -> Mapping[str, str]: ...
    @property
    def repeat_seconds(self) -> float: ...


class Refused(Exception):
    """Raised when this mail cannot be sent, now or later."""


def message_of(
    settings: MailSettings, template: Path, *, detail: str, wall_seconds: float
) -> EmailMessage:
    """Return the mail about something that was at `wall_seconds` (since 1970).

    Raises Refused when template or addresses make no mail.
    """
    try:
        text = template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = TEMPLATE
    words = {
        "{source-email}": settings.source_email,
        "{destination-emails}": ", ".join(settings.destination_emails),
        "{hostname}": socket.gethostname(),
        "{detail}": detail,
    }
    # Not str.format: a stray brace in an operator's template must not stop the broker.
    for word, value in words.items():
        text = text.replace(word, value)
    try:
        message = _message(text, wall_seconds)
        bytes(message)
    except _NO_MAIL as error:
        raise Refused(f"{template.name} and the addresses make no mail: {error}") from error
    return message


def _message(text: str, wall_seconds: float) -> EmailMessage:
    head, _, body = text.partition("\n\n")
    message = EmailMessage()
    for line in head.splitlines():
        name, _, value = line.partition(":")
        message[name.strip()] = value.strip()
    if "Date" not in message:
        message["Date"] = formatdate(wall_seconds, localtime=True)
    if "Message-ID" not in message:
        # With a domain: without one, its name is looked up, which may take long.
        message["Message-ID"] = make_msgid(domain=socket.gethostname())
    message.set_content(body)
    return message


def send(settings: MailSettings, message: EmailMessage) -> None:
    """Give the mail to the server. The certificate must be the server's, and signed by who may.

    Raises Refused, OSError, smtplib.SMTPException; and ConfigError for the file of the password.
    """
    try:
        with _connected(settings) as server:
            if settings.smtp_password_file is not None:
                server.login(settings.smtp_user, secret_in(settings.smtp_password_file))
            to = list(settings.destination_emails)
            refused = server.send_message(message, settings.source_email, to)
    except smtplib.SMTPRecipientsRefused as error:
        if all(code in _REFUSED_FOR_GOOD for code, _ in error.recipients.values()):
            raise Refused(_refusals(error.recipients)) from error
        raise
    except smtplib.SMTPResponseException as error:
        if error.smtp_code in _REFUSED_FOR_GOOD:
            raise Refused(f"{error.smtp_code} {_text(error.smtp_error)}") from error
        raise
    if refused:
        raise Refused(_refusals(refused))


def _connected(settings: MailSettings) -> smtplib.SMTP:
    """Connect; with STARTTLS a server that has none is not spoken to in the clear."""
    # With its name given, smtplib does not ask for it, which may take long without a name server.
    name, timeout = socket.gethostname(), settings.smtp_timeout_seconds
    where = settings.smtp_server, settings.smtp_port
    if settings.smtp_security == "tls":
        return smtplib.SMTP_SSL(*where, name, timeout=timeout, context=_context(settings))
    server = smtplib.SMTP(*where, name, timeout=timeout)
    if settings.smtp_security == "starttls":
        try:
            server.starttls(context=_context(settings))
        except BaseException:
            server.close()
            raise
    return server


def _context(settings: MailSettings) -> ssl.SSLContext:
    """Certificate and name are verified, against the authorities of the file if one is given."""
    file = settings.smtp_ca_file
    return ssl.create_default_context(cafile=None if file is None else str(file))


def _refusals(recipients: Mapping[str, tuple[int, bytes]]) -> str:
    return "; ".join(f"{who}: {code} {_text(why)}" for who, (code, why) in recipients.items())


def _text(answer: bytes | str) -> str:
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
