"""Requests to the storage are timed, also those that hang or fail; what is told is counted."""

import threading

import pytest

from ha.env.ports import WhiteboardFailed
from ha.metered import Stopwatch, Tally, TimedWhiteboard, Times
from tests.ha.broker_world import MemoryWhiteboard
from tests.ha.fakes import FakeClock

BLOCK = b"1".ljust(4096, b"\0")


class SlowWhiteboard(MemoryWhiteboard):
    """Each request takes as long as the test says."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def read_blocks(self, host_ids: object) -> dict[int, bytes]:
        self.clock.now += self.seconds
        return dict(super().read_blocks(host_ids))  # type: ignore[arg-type]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_reads_and_writes_are_told_apart(clock: FakeClock) -> None:
    stopwatch = Stopwatch(clock.monotonic)
    inner = SlowWhiteboard(clock, 0.25)
    whiteboard = TimedWhiteboard(inner, stopwatch)
    whiteboard.write_block(3, BLOCK)
    assert whiteboard.read_blocks([3]) == {3: BLOCK}
    inner.seconds = 0.75
    assert whiteboard.read_blocks([3, 4]) == {3: BLOCK}
    assert whiteboard.read_blocks(None) == {3: BLOCK}
    assert stopwatch.times() == {
        "write": Times(1, 0.0, 0.0),
        "read": Times(2, 1.0, 0.75),
        "read_all": Times(1, 0.75, 0.75),
    }


def test_a_failure_is_counted_and_raised(clock: FakeClock) -> None:
    stopwatch = Stopwatch(clock.monotonic)
    inner = MemoryWhiteboard()
    inner.trouble = WhiteboardFailed("Input/output error")
    with pytest.raises(WhiteboardFailed):
        TimedWhiteboard(inner, stopwatch).write_block(3, BLOCK)
    assert stopwatch.times() == {"write": Times(1, 0.0, 0.0, failures=1)}


def test_what_hangs_is_seen_while_it_hangs(clock: FakeClock) -> None:
    stopwatch = Stopwatch(clock.monotonic)
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        with stopwatch.request("read"):
            begun.set()
            go_on.wait(10)

    thread = threading.Thread(target=hang)
    thread.start()
    begun.wait(10)
    clock.now += 30
    with stopwatch.request("read"):  # a later one waits as well, but not as long
        clock.now += 5
        assert stopwatch.times() == {"read": Times(waiting_seconds=35.0)}
    go_on.set()
    thread.join(10)
    assert stopwatch.times()["read"].waiting_seconds == 0.0
    assert stopwatch.times()["read"].count == 2


def test_what_is_told_is_counted() -> None:
    tally = Tally()
    for _ in range(2):
        tally.notify("state_transition", "EngineUp-EngineStop")
    tally.notify("anomaly.two-vms", "ids 1, 2", 5.0)
    tally.notify("anomaly.two-vms", "ids 1, 3", 5.0)
    assert tally.told("state_transition") == {"EngineUp-EngineStop": 2}
    assert tally.told("anomaly") == {"two-vms": 2}
    assert tally.told("other") == {}
