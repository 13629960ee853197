"""Mail: upstream's filter and template, the queue, what comes again, and a server in trouble."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ha.config import BrokerConf
from ha.env import notifier as notifier_module
from ha.env.notifier import QUEUE_LIMIT, MailNotifier
from tests.ha.env.smtp_server import Mailbox, mail_server

WITHIN_SECONDS = 10.0


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mail_server(Mailbox()) as box:
        yield box


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    return tmp_path


def notifier(port: int, templates: Path, **settings: object) -> MailNotifier:
    conf = BrokerConf(
        smtp_server="127.0.0.1",
        smtp_port=port,
        source_email="he@example",
        destination_emails=("a@example", "b@example"),
        **settings,  # type: ignore[arg-type]
    )
    return MailNotifier(conf, templates, retry_seconds=0.05)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_transition_is_mailed(box: Mailbox, templates: Path) -> None:
    notifier(box.port, templates).notify("state_transition", "EngineDown-EngineStart")
    mail = box.mail()
    assert "To: a@example, b@example" in mail
    assert re.search(r"^Subject: Hosted engine: EngineDown-EngineStart on ", mail, re.MULTILINE)
    assert re.search(r"^Date: .* [+-]\d{4}\r$", mail, re.MULTILINE)
    assert re.search(r"^Message-ID: <.+@.+>\r$", mail, re.MULTILINE)
    assert box.said.count("RCPT") == 2


def test_the_operators_template_is_used(box: Mailbox, templates: Path) -> None:
    (templates / "state_transition.txt").write_text(
        "From: {source-email}\nTo: {destination-emails}\nSubject: {detail}\n\n{stray {detail}"
    )
    notifier(box.port, templates).notify("state_transition", "EngineUp-EngineStop")
    mail = box.mail()
    assert "Subject: EngineUp-EngineStop" in mail
    assert "{stray EngineUp-EngineStop" in mail


def test_what_the_pattern_does_not_name_is_not_mailed(box: Mailbox, templates: Path) -> None:
    to_test = notifier(box.port, templates)
    to_test.notify("state_transition", "ReinitializeFSM-Other")
    to_test.notify("no_such_event", "EngineStart")
    to_test.notify("anomaly.two-vms", "ids 1, 2: up")
    to_test.notify("state_transition", "EngineDown-EngineUp")
    assert "EngineDown-EngineUp" in box.mail()
    assert box.inbox.empty()


@pytest.mark.parametrize(
    ("patterns", "mailed"),
    [
        ({"anomaly": "."}, ["ids 1, 2", "block 52"]),
        ({"anomaly": "two-vms|maintenance"}, ["ids 1, 2"]),
        ({"anomaly.metadata-garbage": "block"}, ["block 52"]),
        ({"anomaly": ".", "anomaly.two-vms": "nothing"}, ["block 52"]),
    ],
)
def test_anomalies_are_mailed_if_asked_for(
    box: Mailbox, templates: Path, patterns: dict[str, str], mailed: list[str]
) -> None:
    to_test = notifier(box.port, templates, notify={**patterns, "last": "."})
    to_test.notify("anomaly.two-vms", "ids 1, 2")
    to_test.notify("anomaly.metadata-garbage", "block 52")
    to_test.notify("last", "one")
    found = [re.search(r"reports: (.*)\r", box.mail()) for _ in [*mailed, "last"]]
    assert [match[1] for match in found if match] == [*mailed, "one"]


def test_text_from_elsewhere_adds_no_header(box: Mailbox, templates: Path) -> None:
    notifier(box.port, templates).notify("state_transition", "up\r\nBcc: c@example\n\nbody")
    mail = box.mail()
    assert "Subject: Hosted engine: up Bcc: c@example body on " in mail
    assert "\nBcc" not in mail


def test_what_comes_again_and_again_is_one_mail_and_a_sum(box: Mailbox, templates: Path) -> None:
    to_test = notifier(box.port, templates, repeat_seconds=0.5)
    for _ in range(9):
        to_test.notify("state_transition", "EngineUp-EngineMaybeAway")
    to_test.notify("state_transition", "EngineUp-EngineStop")
    assert "EngineUp-EngineMaybeAway" in box.mail()
    assert "EngineUp-EngineStop" in box.mail()
    dates = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    words = rf"EngineUp-EngineMaybeAway \(9 times from {dates} to {dates}, and no more since\)"
    assert re.search(words, box.mail().replace("\r\n ", " "))
    to_test.notify("state_transition", "EngineUp-EngineMaybeAway")
    assert "times" not in box.mail()  # it was over, so it is told at once again


def test_that_it_goes_on_is_told_at_the_tenth_time(box: Mailbox, templates: Path) -> None:
    to_test = notifier(box.port, templates)
    for _ in range(12):
        to_test.notify("state_transition", "EngineUp-EngineMaybeAway")
    assert "times" not in box.mail()
    assert "(10 times since" in box.mail().replace("\r\n ", " ")
    until(lambda: to_test.outbox.waiting == ())
    assert box.inbox.empty()


def test_a_mail_server_that_is_not_there_stops_nobody(
    templates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    to_test = notifier(1, templates, repeat_seconds=0)
    began = time.monotonic()
    for number in range(QUEUE_LIMIT * 4):
        to_test.notify("state_transition", f"up {number}")
    assert time.monotonic() - began < WITHIN_SECONDS
    until(lambda: "Failed to send" in caplog.text)
    time.sleep(0.2)  # several times tried again
    failures = [line for line in caplog.messages if "Failed to send" in line]
    assert len(failures) == 1  # not one a mail: at most one in five minutes
    waiting = [mail.detail for mail in to_test.outbox.waiting]
    assert waiting == [f"up {number}" for number in range(QUEUE_LIMIT * 3, QUEUE_LIMIT * 4)]
    assert to_test.outbox.lost == QUEUE_LIMIT * 3


def test_a_mail_server_that_hangs_stops_nobody(templates: Path) -> None:
    with mail_server(Mailbox()) as box:
        go_on = threading.Event()
        box.inbox.put = lambda _text: go_on.wait(WITHIN_SECONDS)  # type: ignore[assignment,misc]
        to_test = notifier(box.port, templates, repeat_seconds=0)
        began = time.monotonic()
        for number in range(QUEUE_LIMIT * 4):
            to_test.notify("state_transition", f"up {number}")
        assert time.monotonic() - began < 2
        go_on.set()


def test_mail_waits_for_a_server_that_comes_back(
    templates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server(Mailbox()) as box:
        port = box.port
    to_test = notifier(port, templates)
    to_test.notify("state_transition", "EngineUp-EngineStop")
    until(lambda: "Failed to send" in caplog.text)
    with mail_server(Mailbox(), port=port) as box:
        assert "EngineUp-EngineStop" in box.mail()
    until(lambda: to_test.outbox.waiting == ())


@pytest.mark.parametrize(("answer", "mails"), [(b"451 later", 2), (b"554 never", 1)])
def test_a_mail_that_is_refused_for_good_does_not_stop_the_next(
    box: Mailbox,
    templates: Path,
    answer: bytes,
    mails: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    box.answers = [answer]
    to_test = notifier(box.port, templates)
    to_test.notify("state_transition", "EngineUp-EngineStop")
    to_test.notify("state_transition", "EngineStop-EngineDown")
    found = [box.mail() for _ in range(mails)]
    assert "EngineStop-EngineDown" in found[-1]
    assert answer.decode()[:3] in caplog.text
    until(lambda: to_test.outbox.waiting == ())


@pytest.mark.parametrize("refused", [("a@example",), ("a@example", "b@example")])
def test_recipients_that_are_refused_are_named(
    box: Mailbox, templates: Path, refused: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    box.refused = refused
    to_test = notifier(box.port, templates)
    to_test.notify("state_transition", "EngineUp-EngineStop")
    until(lambda: to_test.outbox.waiting == () and "Failed" in caplog.text)
    assert all(f"{who}: 550 no such user" in caplog.text for who in refused)
    assert box.inbox.empty() == (len(refused) == 2)


def test_a_failure_is_told_again_after_five_minutes(
    templates: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_module, "FAILURE_LOG_SECONDS", 0.2)
    to_test = notifier(1, templates)
    to_test.notify("state_transition", "EngineUp-EngineStop")
    until(lambda: caplog.text.count("Failed to send") >= 2)
