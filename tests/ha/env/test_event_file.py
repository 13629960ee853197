"""Events that wait outlive the broker: kill -9, a torn or foreign file, a full disk."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ha.config_events import EventsConf
from ha.env import event_file
from ha.env.event_file import MOST_BYTES, Event, EventFile
from ha.env.event_notifier import QUEUE_LIMIT, EventNotifier
from tests.ha.env.control_node import WITHIN_SECONDS, Control

PROJECT = Path(__file__).resolve().parents[3]
NOBODY = "http://127.0.0.1:1/api"


def event(number: int) -> Event:
    return Event("state-transition", False, json.dumps([{"id": str(number), "event": "ä"}]))


@pytest.fixture
def control() -> Iterator[Control]:
    control = Control()
    yield control
    control.go_on.set()
    control.server.shutdown()
    control.server.server_close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "events.json"


def notifier(url: str, path: Path) -> EventNotifier:
    return EventNotifier(EventsConf(url, "lab", "h1"), path, retry_seconds=0.05)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def details(control: Control) -> list[str]:
    return [body[0]["payload"]["detail"] for _, _, body in control.posts]


def kept(path: Path) -> list[str]:
    return [json.loads(one.body)[0]["payload"]["detail"] for one in EventFile(path).load()]


def test_a_round_trip(path: Path) -> None:
    events = (event(1), Event("anomaly.two-vms", True, json.dumps([{"id": "2"}])))
    EventFile(path).save(events)
    assert EventFile(path).load() == events
    assert path.stat().st_mode & 0o777 == 0o600
    EventFile(path).save(())
    assert EventFile(path).load() == ()


def test_without_events_there_is_no_file(path: Path) -> None:
    assert EventFile(path).load() == ()
    EventFile(path).save(())
    assert not path.exists()


def test_what_was_not_taken_is_posted_by_the_next_broker(path: Path, control: Control) -> None:
    first = notifier(NOBODY, path)
    first.notify("anomaly.two-vms", "one", 1_700_000_000.0)
    first.notify("state_transition", "two")
    until(lambda: kept(path) == ["one", "two"])
    second = notifier(control.url, path)
    second.notify("state_transition", "three")
    control.await_posts(3)
    assert details(control) == ["one", "two", "three"]
    assert [body[0]["id"] for _, _, body in control.posts[:2]] == [
        json.loads(one.body)[0]["id"] for one in first.outbox.waiting
    ]
    until(lambda: kept(path) == [])


def test_a_broker_that_is_killed_forgets_nothing(path: Path, control: Control) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ha.config_events import EventsConf\n"
        "from ha.env.event_notifier import EventNotifier\n"
        "to_test = EventNotifier(EventsConf(sys.argv[1], 'lab', 'h1'), Path(sys.argv[2]))\n"
        "for number in range(30): to_test.notify('state_transition', str(number))\n"
        "time.sleep(60)"
    )
    control.go_on.clear()  # it takes the first one and does not answer
    argv = [sys.executable, "-c", code, control.url, str(path)]
    with subprocess.Popen(argv, cwd=PROJECT) as process:
        until(lambda: path.exists() and len(kept(path)) == 30)
        control.await_posts(1)
        os.kill(process.pid, signal.SIGKILL)
    control.go_on.set()
    taken_twice = control.posts[0][2][0]
    notifier(control.url, path)
    control.await_posts(31)
    assert details(control)[1:] == [str(number) for number in range(30)]
    assert control.posts[1][2][0] == taken_twice  # with its id: it is the same event
    assert len({body[0]["id"] for _, _, body in control.posts}) == 30


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 4096,
        b'{"format": "hosted-engine-events-1", "events": [["a", fal',
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"format": "hosted-engine-events-2", "events": []}',
        b'{"format": "hosted-engine-events-1"}',
        b'{"format": "hosted-engine-events-1", "events": [1]}',
        b'{"format": "hosted-engine-events-1", "events": [["a", 1, "[{}]"]]}',
        b'{"format": "hosted-engine-events-1", "events": [["a", true, "{}"]]}',
        b'{"format": "hosted-engine-events-1", "events": [["a", true, "[{}]"]]}',
        b'{"format": "hosted-engine-events-1", "events": [["a", true, "no json"]]}',
        b'{"format": "hosted-engine-events-1",'
        b' "events": [["a", true, "[{\\"id\\": \\"\\", \\"x\\": \\"\\ud800\\"}]"]]}',
        b'{"format": "hosted-engine-events-1", "events": []}'.ljust(MOST_BYTES + 1),
    ],
    ids=range(15),
)
def test_a_torn_or_foreign_file_is_told_and_set_aside(
    path: Path, content: bytes, control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    to_test = notifier(control.url, path)
    assert f"{path} holds no events that can be read" in caplog.text
    assert path.with_name("events.json.bad").read_bytes() == content
    to_test.notify("state_transition", "new")
    control.await_posts(1)
    assert details(control) == ["new"]


def test_a_file_that_cannot_be_read_stops_nobody(
    path: Path, control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir(parents=True)
    notifier(control.url, path).notify("state_transition", "new")
    control.await_posts(1)
    assert "Is a directory" in caplog.text


def test_a_full_disk_costs_the_file_and_not_the_queue(
    path: Path,
    control: Control,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(event_file, "RETRY_SECONDS", 0.05)
    full = True

    def fsync(_file: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    to_test = EventNotifier(EventsConf(NOBODY, "lab", "h1"), path, retry_seconds=0.05)
    to_test.notify("state_transition", "one")
    until(lambda: "not kept over a restart" in caplog.text)
    time.sleep(0.2)  # several times tried again
    assert caplog.text.count("not kept over a restart") == 1
    assert not path.exists()
    assert len(to_test.outbox.waiting) == 1
    full = False
    until(lambda: path.exists() and kept(path) == ["one"])
    to_test._conf = EventsConf(control.url, "lab", "h1")
    control.await_posts(1)


def test_a_disk_that_hangs_blocks_nobody(
    path: Path, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: time.sleep(WITHIN_SECONDS))
    to_test = notifier(control.url, path)
    began = time.monotonic()
    for number in range(20):
        to_test.notify("state_transition", str(number))
    assert time.monotonic() - began < WITHIN_SECONDS / 4
    control.await_posts(20)


def test_the_file_is_bounded(path: Path) -> None:
    to_test = notifier(NOBODY, path)
    for _ in range(QUEUE_LIMIT * 2):
        to_test.notify("anomaly.two-vms", '"ä' * 100_000)
    until(lambda: path.exists() and len(kept(path)) == QUEUE_LIMIT)
    assert path.stat().st_size < MOST_BYTES / 2
