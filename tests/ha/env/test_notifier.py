"""Mail to a mail server of the test's own."""

import queue
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ha.config import BrokerConf
from ha.env.notifier import QUEUE_LIMIT, MailNotifier

Inbox = queue.Queue[str]


class MailServer(socketserver.StreamRequestHandler):
    """Enough of RFC 5321 to take one mail."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while command := self.rfile.readline():
            if command.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go\r\n")
                self.server.inbox.put(b"".join(iter(self.rfile.readline, b".\r\n")).decode())  # type: ignore[attr-defined]
            self.wfile.write(b"250 ok\r\n")


@pytest.fixture
def mail_server() -> Iterator[tuple[int, Inbox]]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailServer) as server:
        server.daemon_threads = True
        server.inbox = queue.Queue()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield server.server_address[1], server.inbox  # type: ignore[attr-defined]
        server.shutdown()


def notifier(port: int, templates: Path) -> MailNotifier:
    settings = BrokerConf(
        smtp_server="127.0.0.1",
        smtp_port=port,
        source_email="he@example",
        destination_emails=("a@example", "b@example"),
    )
    return MailNotifier(settings, templates)


def test_a_transition_is_mailed(mail_server: tuple[int, Inbox], tmp_path: Path) -> None:
    port, inbox = mail_server
    notifier(port, tmp_path).notify("state_transition", "EngineDown-EngineStart")
    mail = inbox.get(timeout=5)
    assert "To: a@example, b@example" in mail
    assert "EngineDown-EngineStart" in mail


def test_the_operators_template_is_used(mail_server: tuple[int, Inbox], tmp_path: Path) -> None:
    port, inbox = mail_server
    template = (
        "From: {source-email}\nTo: {destination-emails}\nSubject: {detail}\n\n{stray {detail}"
    )
    (tmp_path / "state_transition.txt").write_text(template)
    notifier(port, tmp_path).notify("state_transition", "EngineUp-EngineStop")
    mail = inbox.get(timeout=5)
    assert "Subject: EngineUp-EngineStop" in mail
    assert "{stray EngineUp-EngineStop" in mail


def test_what_the_pattern_does_not_name_is_not_mailed(
    mail_server: tuple[int, Inbox], tmp_path: Path
) -> None:
    port, inbox = mail_server
    to_test = notifier(port, tmp_path)
    to_test.notify("state_transition", "ReinitializeFSM-Other")
    to_test.notify("no_such_event", "EngineStart")
    to_test.notify("state_transition", "EngineDown-EngineUp")
    assert "EngineDown-EngineUp" in inbox.get(timeout=5)
    assert inbox.empty()


def test_a_mail_server_that_is_not_there_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    to_test = notifier(1, tmp_path)
    began = time.monotonic()
    for _ in range(QUEUE_LIMIT * 4):
        to_test.notify("state_transition", "EngineUp-EngineStop")
    assert time.monotonic() - began < 1
    to_test._queue.join()
    failures = [line for line in caplog.messages if "Failed to send" in line]
    assert len(failures) == 1  # not one a mail: at most one in five minutes


def test_a_template_that_makes_no_mail_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state_transition.txt").write_text("Subject: a\nSubject: b\n\nx")
    to_test = notifier(1, tmp_path)
    to_test.notify("state_transition", "EngineUp-EngineStop")
    to_test._queue.join()
    assert any("Failed to send" in line for line in caplog.messages)
