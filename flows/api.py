"""A small client of the Prefect server's HTTP API, for programs that need not import Prefect."""

import time
from collections.abc import Mapping
from typing import Any

import httpx

from flows.server import HOST, NoServer, Place, read_credentials, read_record, serving_pid

BUSY = frozenset({502, 503, 504})  # SQLite locked, or a start that is under way

Json = Mapping[str, Any]


class ApiRefused(Exception):
    """The server answered and said no; the text has its reason."""

    def __init__(self, path: str, status: int, reason: str) -> None:
        super().__init__(f"the server refused {path}: {reason} (HTTP {status})")
        self.status = status
        self.reason = reason


class Api:
    """Requests with the home's credentials, repeated while the server is busy or restarts."""

    def __init__(self, port: int, auth: str, patience_seconds: float = 30.0) -> None:
        user, _, password = auth.partition(":")
        self._http = httpx.Client(
            base_url=f"http://{HOST}:{port}/api",
            auth=(user, password),
            timeout=20.0,
            trust_env=False,
        )
        self._patience_seconds = patience_seconds

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def post(self, path: str, body: Json | None = None) -> Any:
        return self.request("POST", path, body or {})

    def request(self, method: str, path: str, body: Json | list[Json] | None = None) -> Any:
        """Return the decoded answer.  Raises ApiRefused, or NoServer when patience ends."""
        deadline = time.monotonic() + self._patience_seconds
        while True:
            trouble = "it is busy (HTTP 503)"
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.TransportError as error:
                trouble = str(error) or type(error).__name__
            else:
                if answer.status_code not in BUSY:
                    return decode(path, answer)
            if time.monotonic() >= deadline:
                raise NoServer(
                    f"the server at {self._http.base_url} does not answer: {trouble}; "
                    "see `runbook status` and the logs of `runbook serve`"
                )
            time.sleep(0.5)

    def healthy(self) -> bool:
        """Tell whether the server answers its health page now."""
        try:
            return self._http.get("/health", timeout=5.0).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def runs(self, state_types: tuple[str, ...], tag: str) -> list[dict[str, Any]]:
        """Return the newest runs with the tag in one of the states, at most 200."""
        found: list[dict[str, Any]] = self.post(
            "/flow_runs/filter",
            {
                "flow_runs": {
                    "tags": {"all_": [tag]},
                    "state": {"type": {"any_": list(state_types)}},
                },
                "sort": "EXPECTED_START_TIME_DESC",
                "limit": 200,
            },
        )
        return found

    def set_state(self, run_id: str, kind: str, name: str, message: str) -> str:
        """Ask for a state; return the server's verdict ACCEPT, REJECT, ABORT or WAIT."""
        answer = self.post(
            f"/flow_runs/{run_id}/set_state",
            {"state": {"type": kind, "name": name, "message": message}},
        )
        return str(answer["status"])


def decode(path: str, answer: httpx.Response) -> Any:
    """Return the JSON of a good answer.  Raises ApiRefused for any other."""
    if answer.is_success:
        return answer.json() if answer.content else None
    try:
        detail = answer.json()
    except ValueError:
        detail = answer.text[:300]
    if isinstance(detail, dict):
        detail = detail.get("detail") or detail.get("exception_message") or detail
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        detail = "the credentials file does not fit this server"
    raise ApiRefused(path, answer.status_code, str(detail))


def connect(place: Place) -> Api:
    """Return a client of the home's server.  Raises NoServer if nobody serves it."""
    if serving_pid(place) is None:
        raise NoServer(f"no server runs for {place.home}: start it with `runbook serve`")
    return Api(read_record(place).port, read_credentials(place))
