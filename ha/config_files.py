"""Reads the configuration files of a host, and says clearly what is wrong with them.

hosted-engine.conf and ha.conf are `key=value` lines (a shell sources the first), agent.conf and
broker.conf have sections. A missing agent.conf, broker.conf or ha.conf means the defaults.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from ha.config import (
    AgentConf,
    ConfigError,
    HostedEngineConf,
    Paths,
    Settings,
    refuse_unknown,
)
from ha.config_broker import read_broker_conf
from ha.config_host import host_conf_of
from ha.config_text import key_values_of, number_of, read_text, sections_in
from ha.core.anomalies import AnomalySettings
from ha.core.bounds import unsafe
from ha.core.score import ScoreSettings
from ha.core.timing import Timing

T = TypeVar("T", AnomalySettings, ScoreSettings, Timing)


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
    return kind(**{key: number_of(names[key], path, key, value) for key, value in written.items()})
