"""One host's way to the storage: what hangs, what lands late, what is lost or torn."""

from collections.abc import Callable, Iterator

import pytest

from ha.core.record import BLOCK_BYTES
from ha.env.ports import LostWrite, WhiteboardFailed
from ha.simulator.processes import Boot, Killed, Process, TooLong
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


def test_a_slow_write_is_there_when_its_time_has_passed(bench: Bench) -> None:
    bench.paths["host1"].slow_seconds = 5.0
    ended = start(bench, lambda: board(bench).write_block(1, NEW))
    bench.run(4.9)
    assert (bench.storage.blocks, ended) == ({}, [])
    bench.run(0.2)
    assert bench.storage.blocks == {1: NEW}
    assert ended == [pytest.approx(5.0, abs=0.1)]


def test_one_host_s_trouble_is_not_another_s(bench: Bench) -> None:
    path = bench.paths["host1"]
    for begin in (path.refuse, path.lose):
        begin()
        assert not path.works
        in_task(bench.schedule, lambda: board(bench, "host2").write_block(2, NEW))
        assert bench.storage.blocks.pop(2) == NEW
        path.restore()
        assert path.works


def test_a_write_that_hung_is_torn_or_lost_as_any_other_when_it_lands(bench: Bench) -> None:
    bench.storage.blocks[1] = OLD
    bench.paths["host1"].lose_a_write()
    for want_old in (True, False):
        bench.paths["host1"].lose()
        start(bench, lambda: board(bench).write_block(1, NEW))
        bench.run(1)
        bench.paths["host1"].restore()
        bench.run(1)
        assert (bench.storage.blocks[1] == OLD) is want_old


def test_a_torn_write_of_a_new_block_ends_in_nothing(bench: Bench) -> None:
    bench.paths["host1"].tear_a_write()
    with pytest.raises(LostWrite):
        in_task(bench.schedule, lambda: board(bench).write_block(1, NEW))
    torn = bench.storage.blocks[1]
    assert len(torn) == BLOCK_BYTES
    assert torn == NEW[: torn.index(b"\0")].ljust(BLOCK_BYTES, b"\0")
    in_task(bench.schedule, lambda: board(bench).write_block(1, NEW))  # only that one
    assert bench.storage.blocks[1] == NEW


def test_who_watches_the_storage_is_told_what_was_asked_and_what_has_landed(bench: Bench) -> None:
    asked: list[tuple[str, int]] = []
    landed: list[tuple[str, int, bytes]] = []
    bench.storage.on_request.append(lambda *what: asked.append(what))
    bench.storage.on_write.append(lambda *what: landed.append(what))
    bench.paths["host1"].lose_a_write()
    for host in ("host1", "host2"):
        start(bench, lambda host=host: board(bench, host).write_block(3, NEW))  # type: ignore[misc]
    bench.run(1)
    assert asked == [("host1", 3), ("host2", 3)]
    assert landed == [("host2", 3, NEW)]


def test_a_dead_process_writes_nothing(bench: Bench) -> None:
    bench.paths["host1"].slow_seconds = 5.0
    process, ended = Process("test", "host1", Boot()), list[str]()

    def run() -> None:
        try:
            bench.schedule.sleep(1)
        finally:
            with pytest.raises(Killed):
                board(bench).write_block(1, NEW)
            ended.append("refused")

    bench.schedule.spawn(process, "test", run)
    bench.schedule.at(0.5, lambda: bench.schedule.kill(process))
    bench.run(10)
    bench.paths["host1"].restore()
    assert ended == ["refused"]
    assert bench.storage.blocks == {}
