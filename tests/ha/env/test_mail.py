"""Templates and addresses that make no mail: what Python's parser of headers does not take."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ha.config import BrokerConf
from ha.env.notifier import MailNotifier
from tests.ha.env.smtp_server import Mailbox, mail_server
from tests.ha.env.test_notifier import notifier, until


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mail_server(Mailbox()) as box:
        yield box


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize(
    "template",
    [
        "Subject: a\nSubject: b\n\nx",
        "Subject x\n\ny",
        "From: <\nTo: ,\nSubject: {detail}\n\nx",
        "\n\n",
        "",
        "To: {detail}\x00\n\n",
        "From: @@@<<>>\nTo: (((\n\nx",
        ": x\n\n",
        "a b: x\n\n",
        "Content-Type: text/html; charset=\nContent-Transfer-Encoding: x\n\n",
        "Date: never\nMessage-ID: <<\n\n",
        "Sender: ;[?, .;\n\nx",
        "Sender: ,b?:;=]\n\nx",
        'Sender: "\n\nx',
        "Message-ID: \u00e9b\n\nx",
    ],
)
def test_a_template_that_makes_no_mail_harms_nobody(
    box: Mailbox, templates: Path, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    (templates / "state_transition.txt").write_text(template)
    to_test = notifier(box.port, templates, notify={"state_transition": ".", "other": "."})
    to_test.notify("state_transition", "EngineUp-EngineStop")
    to_test.notify("other", "the next")
    until(lambda: to_test.outbox.waiting == ())
    mails = [box.mail()]
    while not box.inbox.empty():
        mails.append(box.mail())
    assert "the next" in mails[-1]
    assert not died


@pytest.mark.parametrize("sender", [",b?:;=]", "h\u00e9@example", "", " ,", "@"])
def test_an_address_that_is_none_harms_nobody(
    box: Mailbox, templates: Path, sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    conf = BrokerConf("127.0.0.1", box.port, source_email=sender, destination_emails=(sender,))
    to_test = MailNotifier(conf, templates, retry_seconds=0.05)
    to_test.notify("state_transition", "EngineUp-EngineStop")
    time.sleep(0.2)
    assert not died
