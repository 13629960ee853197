"""What would repeat comes once in a while only, also when a number in it changes each turn."""

import pytest

from ha.agent_log import TurnLog
from ha.core.facts import State
from ha.core.record import Block, judge_block
from ha.core.score import Penalty
from ha.turn import Turn
from tests.ha.core.worlds import facts, memory


@pytest.fixture
def log() -> TurnLog:
    return TurnLog()


def penalised(*penalties: Penalty, now: int) -> Turn:
    return Turn(memory(State.ENGINE_DOWN), facts(now=now), (), penalties)


def lines(caplog: pytest.LogCaptureFixture, begin: str) -> list[str]:
    return [message for message in caplog.messages if message.startswith(begin)]


def memory_of(free_mib: int) -> Penalty:
    return Penalty(400, f"free memory {free_mib} being lower than required 4096", "memory")


def test_a_penalty_whose_number_changes_each_turn(
    log: TurnLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for now in range(0, 120, 10):
        log.turn(penalised(memory_of(1000 + now), now=now), epoch=0)
    assert lines(caplog, "Penalizing") == [
        f"Penalizing score by 400 due to free memory {mib} being lower than required 4096"
        for mib in (1000, 1060)
    ]


def test_another_penalty_and_another_reason_for_no_score_are_told_at_once(
    log: TurnLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    reasons = ("the agent is starting", "the agent is finding its state")
    for reason in (*reasons, *reasons):
        log.turn(penalised(Penalty(None, reason, "state"), now=1), epoch=0)
    log.turn(penalised(memory_of(1), Penalty(800, "network status", "network"), now=1), epoch=0)
    assert lines(caplog, "Score is 0") == [f"Score is 0 due to {reason}" for reason in reasons]
    assert len(lines(caplog, "Penalizing")) == 2


def bad(host_id: int, text: str) -> Block:
    block = judge_block(host_id, text.encode().ljust(4096, b"\0"))
    assert block.bad
    return block


def test_a_bad_block_that_changes_each_turn(log: TurnLog, caplog: pytest.LogCaptureFixture) -> None:
    for now in range(0, 1800, 10):
        log.bad_blocks([bad(7, f"1|1|{now}|7|0|x|h|0|0|deadbeef|1|0")], now)
    assert len(caplog.messages) == 2
    log.bad_blocks([bad(8, "1|1|1|8|0|x|h|0|0|deadbeef|1|0")], 1800)
    log.bad_blocks([bad(7, "2|1|")], 1800)
    assert len(caplog.messages) == 4


def test_a_problem_that_tells_a_number(log: TurnLog, caplog: pytest.LogCaptureFixture) -> None:
    for now in range(60):
        log.trouble(f"no answer for {now} s", now)
    assert caplog.messages == ["no answer for 0 s", "no answer for 30 s"]


def test_what_was_said_is_not_remembered_without_bound(
    log: TurnLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.trouble("first", 0)
    log.trouble("first", 0)
    for number in range(8192):
        log.trouble(f"{number:b}".replace("0", "a").replace("1", "b"), 0)
    log.trouble("first", 0)
    assert caplog.messages.count("first") == 2
