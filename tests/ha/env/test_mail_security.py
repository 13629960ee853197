"""Mail over TLS to a real server with a certificate of the test's own, and sign-in."""

import logging
import ssl
import time
from pathlib import Path

import pytest

from ha.config import BrokerConf
from ha.env.notifier import MailNotifier
from tests.ha.env.smtp_server import Mailbox, certificate, mail_server

PASSWORD = "geheim-4711"
DETAIL = "EngineUp-EngineStop"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return certificate(tmp_path_factory.mktemp("ours"), "IP:127.0.0.1")


@pytest.fixture(scope="module")
def anothers(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return certificate(tmp_path_factory.mktemp("anothers"), "IP:127.0.0.1")


@pytest.fixture(scope="module")
def misnamed(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return certificate(tmp_path_factory.mktemp("misnamed"), "DNS:mail.example")


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    return file


def tell(
    box: Mailbox, security: str, ca: Path | None, password: Path | None = None
) -> MailNotifier:
    conf = BrokerConf(
        smtp_server="127.0.0.1",
        smtp_port=box.port,
        smtp_timeout_seconds=3,
        smtp_security=security,
        smtp_ca_file=ca,
        smtp_user="he" if password else "",
        smtp_password_file=password,
    )
    to_test = MailNotifier(conf, Path("none"), retry_seconds=0.05)
    to_test.notify("state_transition", DETAIL)
    return to_test


def failed(caplog: pytest.LogCaptureFixture) -> str:
    deadline = time.monotonic() + 10
    while "Failed to send" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return caplog.text


def test_starttls(ours: tuple[ssl.SSLContext, Path]) -> None:
    with mail_server(Mailbox(starttls=ours[0])) as box:
        tell(box, "starttls", ours[1])
        assert DETAIL in box.mail()
    assert box.secure == [True]
    assert box.said.count("EHLO") == 2


def test_tls_from_the_start(ours: tuple[ssl.SSLContext, Path]) -> None:
    with mail_server(Mailbox(), tls=ours[0]) as box:
        tell(box, "tls", ours[1])
        assert DETAIL in box.mail()
    assert box.secure == [True]


def test_none_is_upstreams(ours: tuple[ssl.SSLContext, Path]) -> None:
    with mail_server(Mailbox(starttls=ours[0])) as box:
        tell(box, "none", None)
        assert DETAIL in box.mail()
    assert box.secure == [False]


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("who", ["anothers", "misnamed", "system"])
def test_a_certificate_that_is_not_the_servers_gets_no_mail(
    security: str,
    who: str,
    *,
    request: pytest.FixtureRequest,
    ours: tuple[ssl.SSLContext, Path],
    caplog: pytest.LogCaptureFixture,
    password_file: Path,
) -> None:
    context, ca = ours
    trusted: Path | None = ca
    if who == "anothers":  # signed by somebody else
        context = request.getfixturevalue("anothers")[0]
    elif who == "misnamed":  # for another name
        context, trusted = request.getfixturevalue("misnamed")
    else:  # without a CA file the system's authorities count, and they do not know it
        trusted = None
    box = Mailbox(starttls=context if security == "starttls" else None, user=("he", PASSWORD))
    with mail_server(box, tls=context if security == "tls" else None):
        tell(box, security, trusted, password_file)
        assert "certificate verify failed" in failed(caplog)
    assert box.inbox.empty()
    assert "AUTH" not in box.said
    assert "MAIL" not in box.said


def test_a_server_without_starttls_gets_neither_mail_nor_password(
    password_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server(Mailbox(user=("he", PASSWORD))) as box:
        tell(box, "starttls", None, password_file)
        assert "STARTTLS" in failed(caplog)
    assert box.inbox.empty()
    assert not {"AUTH", "MAIL"} & set(box.said)


@pytest.mark.parametrize("mechanisms", ["PLAIN LOGIN", "LOGIN"])
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_sign_in(
    security: str,
    mechanisms: str,
    *,
    ours: tuple[ssl.SSLContext, Path],
    password_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    context, ca = ours
    box = Mailbox(
        user=("he", PASSWORD),
        mechanisms=mechanisms,
        starttls=context if security == "starttls" else None,
    )
    with mail_server(box, tls=context if security == "tls" else None):
        tell(box, security, ca, password_file)
        assert DETAIL in box.mail()
    assert PASSWORD not in caplog.text


def test_a_wrong_password_is_told_without_it(
    ours: tuple[ssl.SSLContext, Path], password_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with mail_server(Mailbox(user=("he", "another")), tls=ours[0]) as box:
        tell(box, "tls", ours[1], password_file)
        assert "535 go away" in failed(caplog)
    assert PASSWORD not in caplog.text
    assert box.inbox.empty()


def test_a_password_that_others_may_read_is_not_used(
    ours: tuple[ssl.SSLContext, Path], password_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    password_file.chmod(0o644)
    with mail_server(Mailbox(user=("he", PASSWORD)), tls=ours[0]) as box:
        tell(box, "tls", ours[1], password_file)
        assert "others may read it" in failed(caplog)
        assert "AUTH" not in box.said
        password_file.chmod(0o600)  # it is tried again
        assert DETAIL in box.mail()
    assert PASSWORD not in caplog.text
