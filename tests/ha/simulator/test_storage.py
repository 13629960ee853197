"""One host's way to the storage: what hangs, what lands late, what is lost or torn."""

from collections.abc import Callable, Iterator

import pytest

from ha.core.record import BLOCK_BYTES
from ha.env.ports import LostWrite, WhiteboardFailed
from ha.simulator.processes import Boot, Process, TooLong
from ha.simulator.storage import READERS, TURN_SECONDS, SimWhiteboard
from tests.ha.simulator.virtual import Bench, in_task

OLD, NEW = b"o" * BLOCK_BYTES, b"n" * BLOCK_BYTES


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.sanlock("host1")
    bench.sanlock("host2")
    yield bench
    bench.schedule.close()


def board(bench: Bench, host: str = "host1") -> SimWhiteboard:
    return SimWhiteboard(bench.schedule, bench.paths[host])


def start(bench: Bench, call: Callable[[], object]) -> list[float]:
    """Make a call and return when it comes back, once it has."""
    ended: list[float] = []

    def run() -> None:
        try:
            with bench.schedule.visit(process, 20):
                call()
        except (WhiteboardFailed, TooLong):
            pass
        ended.append(bench.schedule.now)

    process = Process("test", "host1", Boot())
    bench.schedule.spawn(process, "test", run)
    return ended


def test_a_write_that_hangs_lands_when_the_storage_is_back(bench: Bench) -> None:
    bench.paths["host1"].lose()
    ended = start(bench, lambda: board(bench).write_block(1, NEW))
    bench.run(60)
    assert bench.storage.blocks == {}
    assert ended == [20]  # who asked has gone away
    bench.paths["host1"].restore()
    assert bench.storage.blocks == {1: NEW}


def test_a_write_that_hangs_is_lost_with_the_power(bench: Bench) -> None:
    bench.storage.blocks[1] = OLD
    found = set()
    for _ in range(20):
        bench.paths["host1"].lose()
        start(bench, lambda: board(bench).write_block(1, NEW))
        bench.run(1)
        bench.paths["host1"].cut_power()
        bench.paths["host1"].restore()
        block, bench.storage.blocks[1] = bench.storage.blocks[1], OLD
        found.add("old" if block == OLD else "new" if block == NEW else "torn")
    assert found == {"old", "new", "torn"}


def test_only_so_many_requests_hang_and_the_next_are_refused(bench: Bench) -> None:
    bench.paths["host1"].lose()
    for _ in range(READERS):
        start(bench, lambda: board(bench).read_blocks([1]))
    bench.run(1)
    refused = start(bench, lambda: board(bench).read_blocks([1]))
    bench.run(TURN_SECONDS)
    assert refused == [1 + TURN_SECONDS]
    assert in_task(bench.schedule, lambda: board(bench, "host2").read_blocks([1])) == {}
    bench.paths["host1"].restore()
    assert in_task(bench.schedule, lambda: board(bench).read_blocks([1])) == {}


def test_slow_storage_takes_its_time_and_hurries_up_when_it_is_well(bench: Bench) -> None:
    bench.paths["host1"].slow_seconds = 5.0
    assert start_and_wait(bench, 10) == pytest.approx(5.0, abs=0.1)
    bench.paths["host1"].slow_seconds = 3600.0
    ended = start(bench, lambda: board(bench).read_blocks([1]))
    bench.run(3)
    bench.paths["host1"].restore()
    bench.run(1)
    assert ended == [pytest.approx(bench.schedule.now - 1, abs=0.1)]


def start_and_wait(bench: Bench, seconds: float) -> float:
    began = bench.schedule.now
    ended = start(bench, lambda: board(bench).read_blocks([1]))
    bench.run(seconds)
    return ended[0] - began


def test_storage_that_refuses_says_so(bench: Bench) -> None:
    bench.paths["host1"].refuse()
    with pytest.raises(WhiteboardFailed, match="Input/output error"):
        in_task(bench.schedule, lambda: board(bench).write_block(1, NEW))
    assert bench.storage.blocks == {}


def test_a_lost_write_is_noticed_and_the_next_one_is_well(bench: Bench) -> None:
    bench.storage.blocks[1] = OLD
    bench.paths["host1"].lose_a_write()
    with pytest.raises(LostWrite):
        in_task(bench.schedule, lambda: board(bench).write_block(1, NEW))
    assert bench.storage.blocks[1] == OLD
    in_task(bench.schedule, lambda: board(bench).write_block(1, NEW))
    assert bench.storage.blocks[1] == NEW


def test_a_torn_write_has_the_beginning_of_the_new_and_the_rest_of_the_old(bench: Bench) -> None:
    bench.storage.blocks[1] = OLD
    bench.paths["host1"].tear_a_write()
    with pytest.raises(LostWrite):
        in_task(bench.schedule, lambda: board(bench).write_block(1, NEW))
    cut = bench.storage.blocks[1].index(b"o")
    assert bench.storage.blocks[1] == NEW[:cut] + OLD[cut:]
    assert cut % 512 == 0
