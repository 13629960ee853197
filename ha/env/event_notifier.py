"""Events for Prefect: what happens on this host, posted to its API by a thread of its own.

Nothing waits for the control node. While it does not answer, events wait in a bounded queue, and
what is wrong goes before what merely changed when there is no room for both.
"""

import base64
import http.client
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ha.config import ConfigError
from ha.config_events import EventsConf
from ha.env.event_file import Event, EventFile, EventKeeper
from ha.env.notifier import FailureLog
from ha.env.outbox import Outbox
from ha.plain import one_line

QUEUE_LIMIT = 64
POST_SECONDS = 10.0
RETRY_SECONDS = 15.0
DETAIL_BYTES = 1000
PREFIX = "hosted-engine"
# What these answers say may change without this event: sign in, wait, come again.
_TRY_AGAIN = (401, 403, 408, 425, 429)
_SERVER_ERRORS = 500


class EventNotifier:
    """Posts events; `retry_seconds` is the pause after one that was not taken.

    With `kept`, what waits is in that file, and a broker that is started again posts it first.
    """

    def __init__(
        self, conf: EventsConf, kept: Path | None = None, *, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._conf = conf
        self._failures = FailureLog("Events do not reach Prefect")
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
        file = EventFile(kept) if kept else None
        keeper = EventKeeper(file, lambda: self.outbox.waiting) if file else None
        self.outbox = Outbox(
            "events",
            self._post,
            limit=QUEUE_LIMIT,
            retry_seconds=retry_seconds,
            may_go=lambda event: not event.is_anomaly,
            changed=keeper.changed if keeper else lambda: None,
            first=file.load() if file else (),
        )
        if keeper:
            keeper.start()
        self.outbox.start()

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Queue an event; never blocks, never raises."""
        made = _event(self._conf, event, one_line(detail, DETAIL_BYTES), since)
        lost = self.outbox.put(made)
        if lost is not None and lost.is_anomaly:
            self._failures.say(f"{QUEUE_LIMIT} events are waiting already; {lost.name} is lost")

    def _post(self, event: Event) -> bool:
        """Tell whether the event is done with: taken, or refused for good."""
        try:
            request = urllib.request.Request(
                f"{self._conf.url}/events", event.body.encode(), self._headers(), method="POST"
            )
            with self._opener.open(request, timeout=POST_SECONDS):
                return True
        except urllib.error.HTTPError as error:
            with error:
                self._failures.say(f"{self._conf.url} answers {error.code} {error.reason}")
            return error.code < _SERVER_ERRORS and error.code not in _TRY_AGAIN
        except (OSError, ValueError, ConfigError, http.client.HTTPException) as error:
            self._failures.say(f"{self._conf.url}: {error}")
            return False

    def _headers(self) -> Mapping[str, str]:
        headers = {"Content-Type": "application/json"}
        if credentials := self._conf.credentials():
            headers["Authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        return headers


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A post that is sent elsewhere would become a get, and look like a success."""

    def redirect_request(self, *_: object) -> None:
        return None


def _event(conf: EventsConf, event: str, detail: str, since: float | None) -> Event:
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
    return Event(name, name.startswith("anomaly."), json.dumps([body], ensure_ascii=False))
