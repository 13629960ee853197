"""Events for Prefect: what happens on this host, posted to its API by a thread of its own.

Nothing waits for the control node. While it does not answer, events wait in a bounded queue, and
what is wrong goes before what merely changed when there is no room for both.
"""

import base64
import http.client
import json
import logging
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ha.config import ConfigError
from ha.config_events import EventsConf
from ha.env.ports import Notifier

QUEUE_LIMIT = 64
POST_SECONDS = 10.0
RETRY_SECONDS = 15.0
FAILURE_LOG_SECONDS = 300.0
PREFIX = "hosted-engine"
# What these answers say may change without this event: sign in, wait, come again.
_TRY_AGAIN = (401, 403, 408, 425, 429)
_SERVER_ERRORS = 500

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Event:
    name: str
    is_anomaly: bool
    body: bytes


class Notifiers:
    """Several notifiers as one."""

    def __init__(self, notifiers: Sequence[Notifier]) -> None:
        self._notifiers = tuple(notifiers)

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Tell all of them."""
        for notifier in self._notifiers:
            notifier.notify(event, detail, since)


class EventNotifier:
    """Posts events; `retry_seconds` is the pause after one that was not taken."""

    def __init__(self, conf: EventsConf, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._conf = conf
        self._retry_seconds = retry_seconds
        self._waiting: deque[_Event] = deque()
        self._changed = threading.Condition()
        self._failure_logged_at: float | None = None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
        threading.Thread(target=self._send_all, name="events", daemon=True).start()

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Queue an event; never blocks, never raises."""
        made = _event(self._conf, event, " ".join(detail.split()), since)
        with self._changed:
            if len(self._waiting) >= QUEUE_LIMIT and not self._make_room(made):
                return
            self._waiting.append(made)
            self._changed.notify()

    def _make_room(self, made: _Event) -> bool:
        """Drop the oldest change of state, or refuse the new event when there is none."""
        for each in self._waiting:
            if not each.is_anomaly:
                self._waiting.remove(each)
                return True
        self._log_failure(f"{QUEUE_LIMIT} events are waiting already; {made.name} is lost")
        return False

    def _send_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                event = self._waiting[0]
            if not self._post(event):
                time.sleep(self._retry_seconds)
                continue
            with self._changed:
                if event in self._waiting:
                    self._waiting.remove(event)

    def _post(self, event: _Event) -> bool:
        """Tell whether the event is done with: taken, or refused for good."""
        try:
            request = urllib.request.Request(
                f"{self._conf.url}/events", event.body, self._headers(), method="POST"
            )
            with self._opener.open(request, timeout=POST_SECONDS):
                return True
        except urllib.error.HTTPError as error:
            with error:
                self._log_failure(f"{self._conf.url} answers {error.code} {error.reason}")
            return error.code < _SERVER_ERRORS and error.code not in _TRY_AGAIN
        except (OSError, ValueError, ConfigError, http.client.HTTPException) as error:
            self._log_failure(f"{self._conf.url}: {error}")
            return False

    def _headers(self) -> Mapping[str, str]:
        headers = {"Content-Type": "application/json"}
        if credentials := self._conf.credentials():
            headers["Authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        return headers

    def _log_failure(self, why: str) -> None:
        now = time.monotonic()
        last = self._failure_logged_at
        if last is None or now - last >= FAILURE_LOG_SECONDS:
            self._failure_logged_at = now
            log.error("Events do not reach Prefect: %s", why)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A post that is sent elsewhere would become a get, and look like a success."""

    def redirect_request(self, *_: object) -> None:
        return None


def _event(conf: EventsConf, event: str, detail: str, since: float | None) -> _Event:
    """Return the event in the form of Prefect's API (POST /events)."""
    now = datetime.now(UTC)
    began = now if since is None else datetime.fromtimestamp(since, UTC)
    name = event.replace("_", "-")
    body = {
        "id": str(uuid.uuid4()),
        "occurred": now.isoformat(),
        "event": f"{PREFIX}.{name}",
        "resource": {
            "prefect.resource.id": f"{PREFIX}.{conf.cluster}",
            "prefect.resource.name": conf.cluster,
            f"{PREFIX}.host": conf.host,
        },
        "related": [],
        "payload": {
            "cluster": conf.cluster,
            "host": conf.host,
            "kind": name.removeprefix("anomaly."),
            "detail": detail,
            "since": began.isoformat(),
        },
    }
    return _Event(name, name.startswith("anomaly."), json.dumps([body]).encode())
