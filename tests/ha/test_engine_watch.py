"""The agent's watch: it rings when what the last turn saw is no longer so, once, and never else."""

import queue
from collections.abc import Iterator

import pytest

from ha.core.vigil import Vigil
from ha.engine_watch import EngineWatch
from ha.env.ports import BrokerUnreachable
from ha.env.threads import HostThreads
from tests.ha.fakes import FakeBroker

UP, GONE = Vigil(2, "up"), Vigil(2, "gone")
SOON = 10.0


class Bench:
    """A watch whose broker answers what the test puts into `marks`."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.rings: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.watch = EngineWatch(self.broker, lambda: self.rings.put(None), HostThreads())
        self.watch.start()

    def answer(self, mark: str) -> tuple[int, str]:
        """Answer the next question; return what was asked."""
        self.broker.marks.put(mark)
        return self.broker.watched.get(timeout=SOON)

    def rang(self) -> bool:
        """Wait for a ring."""
        self.rings.get(timeout=SOON)
        return True


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.watch.keep(None)
    bench.broker.marks.put("over")


def test_a_change_rings_once_and_the_next_turn_says_what_to_watch(bench: Bench) -> None:
    bench.watch.keep(UP)
    assert bench.answer("up") == (2, "up")  # nothing has changed: asked again
    assert bench.answer("gone") == (2, "up")
    assert bench.rang()
    bench.watch.keep(GONE)
    assert bench.answer("gone") == (2, "gone")
    assert bench.answer("gone") == (2, "gone")
    assert bench.rings.empty()


def test_what_a_turn_sees_otherwise_does_not_ring_for_ever(bench: Bench) -> None:
    """As when the turn could not read what the watch reads."""
    bench.watch.keep(UP)
    bench.answer("gone")
    assert bench.rang()
    bench.watch.keep(UP)
    bench.answer("gone")
    bench.watch.keep(GONE)
    bench.answer("gone")  # it has gone on
    assert bench.rings.empty()


def test_what_is_no_longer_watched_rings_no_more(bench: Bench) -> None:
    bench.watch.keep(None)
    bench.watch.keep(UP)
    bench.answer("up")
    assert bench.broker.watched.get(timeout=SOON) == (2, "up")
    bench.watch.keep(None)
    bench.broker.marks.put("gone")  # the answer to what was asked before
    bench.watch.keep(GONE)
    assert bench.answer("gone") == (2, "gone")
    assert bench.rings.empty()


def test_a_broker_that_is_away_is_asked_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ha.engine_watch.TROUBLE_SECONDS", 0.01)
    away: list[int] = []
    ask = bench.broker.watch_engine

    def trouble(host_id: int, mark: str, seconds: float) -> str:
        away.append(host_id)
        if len(away) < 3:
            raise BrokerUnreachable("no broker")
        return ask(host_id, mark, seconds)

    monkeypatch.setattr(bench.broker, "watch_engine", trouble)
    bench.watch.keep(UP)
    bench.answer("gone")
    assert bench.rang()
    assert len(away) == 3
