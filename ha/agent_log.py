"""The agent's log lines, in upstream's words: operators grep for them."""

import logging
import re
import time
from collections.abc import Hashable, Sequence

from ha.core.facts import State
from ha.core.record import Block
from ha.core.states import limit_of
from ha.plain import one_line
from ha.turn import Answer, Turn

log = logging.getLogger("ha.agent")

_PENALTY_EVERY_SECONDS = 60
_BAD_BLOCK_EVERY_SECONDS = 900
_PARKED_EVERY_SECONDS = 30
_TROUBLE_EVERY_SECONDS = 30
# More than every block with every verdict.
_MOST_KEYS = 8192
_NUMBER = re.compile("[0-9]+")
_ERRORS = (State.ENGINE_UP_BAD_HEALTH, State.ENGINE_STOP, State.ENGINE_UNEXPECTEDLY_DOWN)


class TurnLog:
    """Writes what a turn came to; lines that would repeat come once in a while only."""

    def __init__(self) -> None:
        self._said: dict[Hashable, float] = {}

    def turn(self, turn: Turn, *, epoch: float) -> None:
        """Log one turn; `epoch` is wall time less monotonic time, for the dates."""
        now = turn.facts.now
        for answer in turn.answers:
            self._answer(answer, epoch)
        if turn.memory.state is State.LOCAL_MAINTENANCE and self._due(
            "parked", now, _PARKED_EVERY_SECONDS
        ):
            log.info("Local maintenance set")
        for penalty in turn.penalties:
            # A reason may hold numbers that change each turn; one for no score tells the state.
            key = penalty.reason if penalty.points is None else penalty.name
            if penalty.points != 0 and self._due(key, now, _PENALTY_EVERY_SECONDS):
                if penalty.points is None:
                    log.info("Score is 0 due to %s", penalty.reason)
                else:
                    log.info("Penalizing score by %d due to %s", penalty.points, penalty.reason)
        log.info("Current state %s (score: %d)", turn.memory.state.value, turn.memory.score)
        best = turn.facts.best_score_peer
        if best is not None:
            log.info(
                "Best remote host %s (id: %d, score: %d)",
                one_line(best.hostname),
                best.host_id,
                best.score,
            )

    def trouble(self, problem: str, now: float, level: int = logging.ERROR) -> None:
        """Log why nothing could be decided, or what could not be fetched.

        Problems that differ in their numbers only are the same one.
        """
        if self._due(_NUMBER.sub("#", problem), now, _TROUBLE_EVERY_SECONDS):
            log.log(level, "%s", problem)

    def bad_blocks(self, blocks: Sequence[Block], now: float) -> None:
        """Log the blocks that cannot be used, each every quarter of an hour, however it changes."""
        for block in blocks:
            if self._due((block.host_id, block.verdict), now, _BAD_BLOCK_EVERY_SECONDS):
                log.error("%s", block.message)

    def _answer(self, step: Answer, epoch: float) -> None:
        """Log why and by which rule; the rule comes last, so that upstream's words begin."""
        level = logging.ERROR if step.new in _ERRORS else logging.INFO
        log.log(level, "%s [%s]", one_line(step.why), step.rule)
        if step.old is not step.new:
            if step.timer_before is not None and not step.why.startswith("Timeout on"):
                log.info(
                    "Timeout cleared while transitioning %s -> %s", step.old.value, step.new.value
                )
            log.info("State transition %s-%s", step.old.value, step.new.value)
        elif step.timer_before is None and step.timer_after is not None:
            limit = float(getattr(step.facts.timing, limit_of(step.new) or ""))
            log.info(
                "Timeout set to %s while transitioning %s -> %s",
                time.ctime(epoch + step.timer_after + limit),
                step.old.value,
                step.new.value,
            )

    def _due(self, key: Hashable, now: float, every_seconds: float) -> bool:
        last = self._said.get(key)
        if last is not None and now - last < every_seconds:
            return False
        self._said.pop(key, None)
        self._said[key] = now
        if len(self._said) > _MOST_KEYS:
            del self._said[next(iter(self._said))]
        return True
