"""broker.conf: what it may say of mail and metrics, and that a password is not in it."""

import os
from pathlib import Path

import pytest

from ha.config import BrokerConf, ConfigError
from ha.config_broker import EMAIL_KEYS, broker_conf_of, secret_in

FILE = Path("broker.conf")
SIGN_IN = "smtp-security=tls\nsmtp-user=he\nsmtp-password-file=/etc/he.password\n"


def test_what_upstream_knows_is_read_as_it_is() -> None:
    text = (
        "[email]\nsmtp-server=mail\nsmtp-port=25\nsmtp-timeout=10\nsource-email=he@x\n"
        "destination-emails=a@x, b@x\n[notify]\nstate_transition=maintenance|start|stop|up|down\n"
    )
    conf = broker_conf_of(FILE, text)
    assert conf == BrokerConf("mail", 25, 10.0, "he@x", ("a@x", "b@x"))


def test_tls_and_a_user() -> None:
    conf = broker_conf_of(FILE, f"[email]\n{SIGN_IN}smtp-ca-file=/etc/ca.pem\nrepeat-seconds=60\n")
    assert (conf.smtp_security, conf.smtp_user) == ("tls", "he")
    assert conf.smtp_password_file == Path("/etc/he.password")
    assert conf.smtp_ca_file == Path("/etc/ca.pem")
    assert conf.repeat_seconds == 60


def test_keys_without_a_value_are_the_default() -> None:
    conf = broker_conf_of(FILE, "[email]\nsmtp-user=\nsmtp-password-file=\n[metrics]\nlisten=\n")
    assert conf == BrokerConf()


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("127.0.0.1:9797", ("127.0.0.1", 9797)),
        ("[::1]:9797", ("::1", 9797)),
        ("h1.example.com:65535", ("h1.example.com", 65535)),
    ],
)
def test_where_metrics_are_served(written: str, address: tuple[str, int]) -> None:
    assert broker_conf_of(FILE, f"[metrics]\nlisten={written}\n").metrics_listen == address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[email]\nsmtp-security=ssl\n", "smtp-security: 'ssl' is unknown. Use none, starttls"),
        ("[email]\nsmtp-user=he\n", "smtp-password-file: is missing beside smtp-user"),
        ("[email]\nsmtp-password-file=/x\n", "smtp-user: is missing beside smtp-password-file"),
        ("[email]\nsmtp-user=he\nsmtp-password-file=/x\n", "smtp-user: .* in the clear"),
        ("[email]\nsmtp-password=geheim\n", "smtp-password: is unknown. Did you mean smtp-passw"),
        ("[email]\nsmtp-ca-file=ca.pem\n", "smtp-ca-file: 'ca.pem' is no absolute path"),
        ("[email]\nrepeat-seconds=often\n", "repeat-seconds: 'often' is no number"),
        ("[email]\nsmtp-port=65536\n", "smtp-port: is no port"),
        ("[metrics]\nlisten=9797\n", "listen: '9797' is no address with a port"),
        ("[metrics]\nlisten=::1:9797\n", "listen: '::1:9797' is no address with a port"),
        ("[metrics]\nlisten=127.0.0.1:0\n", "listen: is no port"),
        ("[metrics]\nport=1\n", "port: is unknown"),
        ("[metric]\n", "metric: is unknown. Did you mean metrics"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        broker_conf_of(FILE, text)


def test_a_password_in_the_file_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ConfigError) as refused:
        broker_conf_of(FILE, "[email]\nsmtp-password=geheim\n")
    assert "geheim" not in str(refused.value)


def test_every_key_of_mail_is_a_setting() -> None:
    assert set(EMAIL_KEYS.values()) <= set(BrokerConf.__slots__)


def test_a_secret_of_roots_alone_is_read(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(" pass word \n")
    file.chmod(0o600)
    assert secret_in(file) == "pass word"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_secret_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "secret"
    file.write_text("geheim")
    file.chmod(mode)
    with pytest.raises(ConfigError, match="others may read it") as refused:
        secret_in(file)
    assert "geheim" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_secret_of_another_user_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("geheim")
    file.chmod(0o600)
    os.chown(file, 65534, 0)
    with pytest.raises(ConfigError, match="another user's"):
        secret_in(file)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_secret_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    with pytest.raises(ConfigError, match="cannot be read"):
        secret_in(file)
