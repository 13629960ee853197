"""Reads the configuration files of a host, and says clearly what is wrong with them.

hosted-engine.conf and ha.conf are `key=value` lines (a shell sources the first), agent.conf and
broker.conf have sections. A missing agent.conf, broker.conf or ha.conf means the defaults.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from ha.config import (
    AgentConf,
    BrokerConf,
    ConfigError,
    HostedEngineConf,
    Paths,
    Settings,
    refuse_unknown,
)
from ha.config_host import host_conf_of
from ha.config_text import key_values_of, read_text, sections_in
from ha.core.anomalies import AnomalySettings
from ha.core.bounds import unsafe
from ha.core.score import ScoreSettings
from ha.core.timing import Timing

MAX_PORT = 65535
MOST = 1_000_000_000
T = TypeVar("T", AnomalySettings, ScoreSettings, Timing)
_DIGITS = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
EMAIL_KEYS = {
    "smtp-server": "smtp_server",
    "smtp-port": "smtp_port",
    "smtp-timeout": "smtp_timeout_seconds",
    "source-email": "source_email",
    "destination-emails": "destination_emails",
}


def load_settings(paths: Paths) -> Settings:
    """Return everything that a daemon is told. Raises ConfigError."""
    return Settings(
        paths,
        read_hosted_engine_conf(paths.hosted_engine_conf),
        read_agent_conf(paths.agent_conf),
        read_broker_conf(paths.broker_conf),
    )


def read_hosted_engine_conf(path: Path) -> HostedEngineConf:
    """Return hosted-engine.conf, checked. Raises ConfigError, also when there is none."""
    if not path.exists():
        raise ConfigError(path, "file", "does not exist", "Run hosted-engine --deploy on this host")
    return host_conf_of(path, read_key_values(path))


def read_key_values(path: Path) -> dict[str, str]:
    """Return the `key=value` lines of a file. Raises ConfigError."""
    return key_values_of(path, read_text(path))


def read_agent_conf(path: Path) -> AgentConf:
    """Return agent.conf: sections [score] and [timing], each key optional.

    Raises ConfigError, also for a timing that is not safe.
    """
    sections = sections_of(path, ("score", "timing"))
    score = values_of(ScoreSettings, path, sections.get("score", {}))
    if score.cpu_load_penalty_min > score.cpu_load_penalty_max:
        problem = f"{score.cpu_load_penalty_min} is more than cpu-load-penalty-max"
        raise ConfigError(path, "cpu-load-penalty-min", problem, "Set it to the same or less")
    timing = values_of(Timing, path, sections.get("timing", {}))
    for wrong in unsafe(timing):
        problem = f"{getattr(timing, wrong.setting):g} is not safe: {wrong.why}"
        raise ConfigError(path, wrong.setting, problem, f"Set it to {wrong.least:g} or more")
    return AgentConf(score, timing)


def read_broker_conf(path: Path) -> BrokerConf:
    """Return broker.conf, the defaults when there is no file. Raises ConfigError."""
    return broker_conf_of(path, read_text(path)) if path.exists() else BrokerConf()


def broker_conf_of(path: Path, text: str) -> BrokerConf:
    """Return a broker.conf: [email], a pattern for each event in [notify]. Raises ConfigError."""
    sections = sections_in(path, text, ("email", "notify"))
    email = sections.get("email", {})
    refuse_unknown(path, email, EMAIL_KEYS)
    found: dict[str, Any] = {EMAIL_KEYS[key]: value for key, value in email.items()}
    if "smtp_port" in found:
        found["smtp_port"] = _number(int, path, "smtp-port", found["smtp_port"])
        if not 0 < found["smtp_port"] <= MAX_PORT:
            raise ConfigError(path, "smtp-port", "is no port", f"Use 1 to {MAX_PORT}, mostly 25")
    if "smtp_timeout_seconds" in found:
        timeout = _number(float, path, "smtp-timeout", found["smtp_timeout_seconds"])
        if not timeout:
            raise ConfigError(path, "smtp-timeout", "is 0", "Use more, as 10 seconds")
        found["smtp_timeout_seconds"] = timeout
    if "destination_emails" in found:
        addresses = (part.strip() for part in found["destination_emails"].split(","))
        found["destination_emails"] = tuple(part for part in addresses if part)
    if "notify" in sections:
        found["notify"] = _patterns(path, sections["notify"])
    return BrokerConf(**found)


def _patterns(path: Path, values: Mapping[str, str]) -> dict[str, str]:
    for event, pattern in values.items():
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            remedy = "Use words with | between them, like start|stop"
            raise ConfigError(path, event, f"is no regular expression: {error}", remedy) from error
    return dict(values)


def sections_of(path: Path, known: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the sections of a file, none when there is no file. Raises ConfigError."""
    return sections_in(path, read_text(path), known) if path.exists() else {}


def values_of(kind: type[T], path: Path, values: Mapping[str, str]) -> T:
    """Return settings with the numbers written, the defaults for the rest. Raises ConfigError."""
    defaults = kind()
    names = {field.name: type(getattr(defaults, field.name)) for field in fields(defaults)}
    written = {key.replace("-", "_"): value for key, value in values.items()}
    if len(written) < len(values):
        raise ConfigError(path, ", ".join(values), "a key is there twice", "Remove one")
    refuse_unknown(path, written, names)
    return kind(**{key: _number(names[key], path, key, value) for key, value in written.items()})


def _number(kind: Callable[[str], Any], path: Path, key: str, text: str) -> Any:
    try:
        value = kind(text if _DIGITS.fullmatch(text) else "no number")
    except ValueError as error:
        raise ConfigError(path, key, f"{text!r} is no number", "Write it in digits") from error
    if not value >= 0:
        raise ConfigError(path, key, f"{text} is less than 0", "Use 0 or more")
    if value > MOST:
        raise ConfigError(path, key, f"{text[:20]} is too much", f"Use {MOST} or less")
    return value
