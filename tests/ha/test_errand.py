"""A call that may hang is made in a thread, once at a time, and waited for only so long."""

import queue
import threading
import time

import pytest

from ha.env.clock import HostClock
from ha.env.threads import HostThreads
from ha.errand import Broken, Errand, Unfinished


class Call:
    """A call that hangs until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.calls = 0
        self.trouble: Exception | None = None

    def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        assert self.go.wait(10)
        if self.trouble:
            raise self.trouble
        return number


def errand(call: Call, limit_seconds: float = 5.0) -> Errand[int]:
    return Errand("test", call, OSError, limit_seconds, clock=HostClock(), threads=HostThreads())


def test_what_the_call_gives_is_returned() -> None:
    call = Call()
    call.go.set()
    one = errand(call)
    assert [one.ask(), one.ask()] == [1, 2]


def test_a_late_call_is_taken_up_again_and_not_made_twice() -> None:
    call = Call()
    one = errand(call, 0.05)
    for _ in range(3):
        with pytest.raises(Unfinished, match="test has not come back within 0.05 s"):
            one.ask()
    call.go.set()
    time.sleep(0.1)
    assert one.ask() == 1
    assert one.ask() == 2


def test_the_limit_counts_from_the_beginning_of_the_call() -> None:
    call = Call()
    one = errand(call, 0.3)
    began = time.monotonic()
    for _ in range(10):
        with pytest.raises(Unfinished):
            one.ask()
    assert time.monotonic() - began < 0.6
    call.go.set()


def test_expected_trouble_is_raised_where_it_is_asked() -> None:
    call = Call()
    call.trouble = OSError("no")
    call.go.set()
    one = errand(call)
    with pytest.raises(OSError, match="no"):
        one.ask()
    call.trouble = None
    assert one.ask() == 2


def test_an_error_that_was_not_expected_is_told_to_who_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    died: queue.SimpleQueue[object] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda args: died.put(args.exc_value))
    call = Call()
    call.trouble = ValueError("a surprise")
    call.go.set()
    one = errand(call)
    with pytest.raises(Broken, match="test has ended with an error"):
        one.ask()
    assert died.get(timeout=10) is call.trouble
    call.trouble = None
    assert one.ask() == 2


def test_several_begin_at_once() -> None:
    slow, quick = Call(), Call()
    both = [errand(slow, 0.05), errand(quick, 0.05)]
    for one in both:
        one.begin()
    with pytest.raises(Unfinished):
        both[0].ask()
    assert quick.calls == 1
    slow.go.set()
    quick.go.set()
