"""broker.conf: whom to mail and how, about which events, and where metrics are served.

`[email]` and `[notify]` are upstream's; TLS, user, repeats and `[metrics]` are ours. The file is
shared by all hosts and anybody on them may read it, so a password has a file of its own.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ha.config import BrokerConf, ConfigError, refuse_unknown
from ha.config_text import number_of, read_text, sections_in

SECTIONS = ("email", "notify", "metrics")
METRICS_KEYS = ("listen",)
EMAIL_KEYS = {
    "smtp-server": "smtp_server",
    "smtp-port": "smtp_port",
    "smtp-timeout": "smtp_timeout_seconds",
    "smtp-security": "smtp_security",
    "smtp-ca-file": "smtp_ca_file",
    "smtp-user": "smtp_user",
    "smtp-password-file": "smtp_password_file",
    "source-email": "source_email",
    "destination-emails": "destination_emails",
    "repeat-seconds": "repeat_seconds",
}
SECURITY = ("none", "starttls", "tls")
MAX_PORT = 65535
_LONGEST_SECRET_BYTES = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})")


def read_broker_conf(path: Path) -> BrokerConf:
    """Return broker.conf, the defaults when there is no file. Raises ConfigError."""
    return broker_conf_of(path, read_text(path)) if path.exists() else BrokerConf()


def broker_conf_of(path: Path, text: str) -> BrokerConf:
    """Return a broker.conf; each key is optional. Raises ConfigError, which names `path`."""
    sections = sections_in(path, text, SECTIONS)
    email, metrics = sections.get("email", {}), sections.get("metrics", {})
    refuse_unknown(path, email, EMAIL_KEYS)
    refuse_unknown(path, metrics, METRICS_KEYS)
    found = {EMAIL_KEYS[key]: _email(path, key, value) for key, value in email.items()}
    if "notify" in sections:
        found["notify"] = _patterns(path, sections["notify"])
    if metrics.get("listen"):
        found["metrics_listen"] = _listen(path, metrics["listen"])
    conf = BrokerConf(**found)
    _check_sign_in(path, conf)
    return conf


def secret_in(path: Path) -> str:
    """Read a secret from a file of root's alone, without the line end. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(_LONGEST_SECRET_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read: {getattr(error, 'strerror', 'it is not UTF-8')}"
        raise ConfigError(path, "file", problem, "Check that it is there") from error
    if status.st_mode & _OTHERS:
        raise ConfigError(path, "mode", "others may read it", "Run: chmod 600")
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(path, "owner", "it is another user's", "Run: chown root")
    return text


def _email(path: Path, key: str, value: str) -> Any:
    parse = _PARSERS.get(key)
    return parse(path, key, value) if parse else value


def _port(path: Path, key: str, value: str) -> int:
    port: int = number_of(int, path, key, value)
    if not 0 < port <= MAX_PORT:
        raise ConfigError(path, key, "is no port", f"Use 1 to {MAX_PORT}, mostly 25, 465 or 587")
    return port


def _timeout(path: Path, key: str, value: str) -> float:
    timeout: float = number_of(float, path, key, value)
    if not timeout:
        raise ConfigError(path, key, "is 0", "Use more, as 10 seconds")
    return timeout


def _security(path: Path, key: str, value: str) -> str:
    if value not in SECURITY:
        raise ConfigError(path, key, f"{value!r} is unknown", f"Use {', '.join(SECURITY)}")
    return value


def _file(path: Path, key: str, value: str) -> Path | None:
    if value and not value.startswith("/"):
        raise ConfigError(path, key, f"{value!r} is no absolute path", "Begin it with /")
    return Path(value) if value else None


def _addresses(_path: Path, _key: str, value: str) -> tuple[str, ...]:
    addresses = (part.strip() for part in value.split(","))
    return tuple(part for part in addresses if part)


_PARSERS: Mapping[str, Callable[[Path, str, str], Any]] = {
    "smtp-port": _port,
    "smtp-timeout": _timeout,
    "smtp-security": _security,
    "smtp-ca-file": _file,
    "smtp-password-file": _file,
    "destination-emails": _addresses,
    "repeat-seconds": lambda path, key, value: number_of(float, path, key, value),
}


def _check_sign_in(path: Path, conf: BrokerConf) -> None:
    if bool(conf.smtp_user) != bool(conf.smtp_password_file):
        here, missing = "smtp-user", "smtp-password-file"
        if not conf.smtp_user:
            here, missing = missing, here
        raise ConfigError(path, missing, f"is missing beside {here}", "Write both or none")
    if conf.smtp_user and conf.smtp_security == "none":
        problem = "would send the password in the clear"
        raise ConfigError(path, "smtp-user", problem, "Set smtp-security to starttls or tls")


def _patterns(path: Path, values: Mapping[str, str]) -> dict[str, str]:
    for event, pattern in values.items():
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            remedy = "Use words with | between them, like start|stop"
            raise ConfigError(path, event, f"is no regular expression: {error}", remedy) from error
    return dict(values)


def _listen(path: Path, value: str) -> tuple[str, int]:
    found = _LISTEN.fullmatch(value)
    if found is None:
        remedy = "Write it as 127.0.0.1:9797 or [::1]:9797"
        raise ConfigError(path, "listen", f"{value!r} is no address with a port", remedy)
    return found[1] or found[2], _port(path, "listen", found[3])
