"""Events over real HTTP: what is posted, and that nobody waits for a server that is in trouble."""

import base64
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ha.config_events import EventsConf
from ha.env import event_notifier
from ha.env.event_notifier import QUEUE_LIMIT, EventNotifier
from ha.env.notifier import Notifiers
from tests.ha.env.control_node import Control

AT_ONCE_SECONDS = 0.5


@pytest.fixture
def control() -> Iterator[Control]:
    control = Control()
    yield control
    control.go_on.set()
    control.server.shutdown()
    control.server.server_close()


def notifier(url: str, auth: Path | None = None) -> EventNotifier:
    return EventNotifier(EventsConf(url, "lab", "h1", auth), retry_seconds=0.05)


def test_a_change_of_state(control: Control) -> None:
    notifier(control.url).notify("state_transition", "EngineDown-EngineStart")
    control.await_posts(1)
    path, headers, body = control.posts[0]
    assert path == "/api/events"
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers
    (event,) = body
    assert event["event"] == "hosted-engine.state-transition"
    assert event["resource"] == {
        "prefect.resource.id": "hosted-engine.lab",
        "prefect.resource.name": "lab",
        "hosted-engine.host": "h1",
    }
    assert {key: event["payload"][key] for key in ("cluster", "host", "kind", "detail")} == {
        "cluster": "lab",
        "host": "h1",
        "kind": "state-transition",
        "detail": "EngineDown-EngineStart",
    }
    assert event["payload"]["since"] == event["occurred"]
    assert len(event["id"]) == 36


def test_an_anomaly_with_its_beginning(control: Control) -> None:
    notifier(control.url).notify("anomaly.two-vms", "ids 1,\n 3", 1_700_000_000.0)
    control.await_posts(1)
    (event,) = control.posts[0][2]
    assert event["event"] == "hosted-engine.anomaly.two-vms"
    assert event["payload"]["kind"] == "two-vms"
    assert event["payload"]["detail"] == "ids 1, 3"
    assert event["payload"]["since"] == "2023-11-14T22:13:20+00:00"
    assert event["occurred"] > event["payload"]["since"]


def test_who_signs_in(control: Control, tmp_path: Path) -> None:
    auth = tmp_path / "auth"
    auth.write_text("admin:pass:word\n")
    auth.chmod(0o600)
    notifier(control.url, auth).notify("state_transition", "a-b")
    control.await_posts(1)
    coded = control.posts[0][1]["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(coded) == b"admin:pass:word"


@pytest.mark.parametrize("code", [500, 503, 401, 403, 408, 429])
def test_an_event_that_is_not_taken_is_sent_again(control: Control, code: int) -> None:
    control.answers = [code, code, 204]
    to_test = notifier(control.url)
    to_test.notify("anomaly.two-vms", "first")
    to_test.notify("state_transition", "second")
    control.await_posts(4)
    details = [body[0]["payload"]["detail"] for _, _, body in control.posts]
    assert details == ["first", "first", "first", "second"]
    assert len({body[0]["id"] for _, _, body in control.posts[:3]}) == 1


@pytest.mark.parametrize("code", [400, 404, 422, 302])
def test_an_event_that_is_refused_for_good_does_not_stop_the_next(
    control: Control, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    control.answers = [code, 204]
    to_test = notifier(control.url)
    to_test.notify("state_transition", "first")
    to_test.notify("state_transition", "second")
    control.await_posts(2)
    time.sleep(0.2)
    assert [body[0]["payload"]["detail"] for _, _, body in control.posts] == ["first", "second"]
    assert f"answers {code}" in caplog.text


def test_a_server_that_hangs_blocks_nobody(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_notifier, "POST_SECONDS", 0.3)
    control.go_on.clear()
    to_test = notifier(control.url)
    began = time.monotonic()
    for number in range(3 * QUEUE_LIMIT):
        to_test.notify("state_transition", str(number))
    assert time.monotonic() - began < AT_ONCE_SECONDS
    control.await_posts(2)  # the first one gave up, and is sent again
    control.go_on.set()
    control.await_posts(QUEUE_LIMIT)


def test_a_server_that_is_down_and_comes_back() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/api"
    to_test = notifier(url)
    began = time.monotonic()
    to_test.notify("anomaly.two-vms", "why")
    assert time.monotonic() - began < AT_ONCE_SECONDS
    time.sleep(0.3)
    assert len(to_test.outbox.waiting) == 1
    control = Control()
    to_test._conf = EventsConf(control.url, "lab", "h1")
    control.await_posts(1)
    control.server.shutdown()
    control.server.server_close()


def test_what_is_wrong_goes_before_what_changed(control: Control) -> None:
    control.go_on.clear()
    to_test = notifier(control.url)
    to_test.notify("state_transition", "under way")
    control.await_posts(1)
    for number in range(QUEUE_LIMIT):
        to_test.notify("state_transition", str(number))
    for number in range(QUEUE_LIMIT + 5):
        to_test.notify("anomaly.two-vms", str(number))
    to_test.notify("state_transition", "late")
    assert len(to_test.outbox.waiting) == QUEUE_LIMIT
    control.go_on.set()
    control.await_posts(QUEUE_LIMIT + 1)
    time.sleep(0.2)
    assert control.events()[1:] == ["hosted-engine.anomaly.two-vms"] * QUEUE_LIMIT


def test_a_failure_is_logged_once_in_a_while(
    control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    control.answers = [503]
    notifier(control.url).notify("state_transition", "a-b")
    control.await_posts(4)
    assert caplog.text.count("Events do not reach Prefect") == 1


def test_a_file_of_credentials_that_went_away_costs_no_event(
    control: Control, tmp_path: Path
) -> None:
    auth = tmp_path / "auth"
    to_test = notifier(control.url, auth)
    to_test.notify("state_transition", "a-b")
    time.sleep(0.2)
    assert control.posts == []
    fresh = tmp_path / "fresh"
    fresh.write_text("admin:pw")
    fresh.chmod(0o600)
    fresh.rename(auth)
    control.await_posts(1)


def test_several_notifiers() -> None:
    heard: list[tuple[str, str, float | None]] = []

    class Ear:
        def notify(self, event: str, detail: str, since: float | None = None) -> None:
            heard.append((event, detail, since))

    Notifiers([Ear(), Ear()]).notify("x", "y", 1.0)
    assert heard == [("x", "y", 1.0)] * 2
