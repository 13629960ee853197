"""events.conf: where Prefect hears of what happens, and how long an anomaly must last.

`[events]` has `url` (Prefect's API, as http://control:4200/api), `cluster`, and if wanted `host`
and `auth-file`, a file of root's alone with "user:password". `[anomalies]` has limits in seconds.
"""

import re
import socket
import urllib.parse
from dataclasses import dataclass, replace
from pathlib import Path

from ha.config import ConfigError, Settings, refuse_unknown
from ha.config_broker import secret_in
from ha.config_files import sections_of, values_of
from ha.core.anomalies import AnomalySettings

_URL = re.compile(r"[!-~]+")
_KEYS = ("url", "cluster", "host", "auth-file")


@dataclass(frozen=True, slots=True)
class EventsConf:
    """Where events go, and what they say they come from."""

    url: str
    cluster: str
    host: str
    auth_file: Path | None = None

    def credentials(self) -> str:
        """Read "user:password", empty without a file; raises ConfigError if others may read it."""
        if self.auth_file is None:
            return ""
        text = secret_in(self.auth_file)
        if ":" not in text:
            raise ConfigError(self.auth_file, "file", "is not user:password", "Write it so")
        return text


def read_events_conf(path: Path) -> EventsConf | None:
    """Return where events go, None when there is no such file. Raises ConfigError."""
    sections = sections_of(path, ("events", "anomalies"))
    if "events" not in sections:
        return None
    values = sections["events"]
    refuse_unknown(path, values, _KEYS)
    for key in ("url", "cluster"):
        if not values.get(key):
            raise ConfigError(path, key, "is missing", f"Write {key}=... below [events]")
    _require_url(path, values["url"])
    auth = values.get("auth-file")
    return EventsConf(
        values["url"].rstrip("/"),
        values["cluster"],
        values.get("host") or socket.gethostname(),
        Path(auth) if auth else None,
    )


def _require_url(path: Path, url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets that are not closed, a port that is none
        right = False
    if not right or parts.username or not _URL.fullmatch(url):
        remedy = "Write it as http://control:4200/api; a password goes into auth-file"
        raise ConfigError(path, "url", "is no address of Prefect's API", remedy)


def read_anomaly_settings(path: Path) -> AnomalySettings:
    """Return how long anomalies must last; each key is optional. Raises ConfigError."""
    sections = sections_of(path, ("events", "anomalies"))
    return values_of(AnomalySettings, path, sections.get("anomalies", {}))


def with_anomaly_settings(settings: Settings) -> Settings:
    """Return the settings with those of events.conf. Raises ConfigError."""
    return replace(settings, anomalies=read_anomaly_settings(settings.paths.events_conf))
