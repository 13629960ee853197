"""What the agent tells its broker: its record for the others, who is alive, and what changed."""

import logging
from collections.abc import Callable, Collection
from typing import ParamSpec

from ha.core.anomalies import Kind
from ha.core.record import Record, encode_record
from ha.env.ports import Broker, BrokerError, BrokerUnreachable
from ha.observe import Blind, Sight
from ha.report import Reporter
from ha.turn import Turn

log = logging.getLogger(__name__)

P = ParamSpec("P")

EVENT = "state_transition"
ANOMALY = "anomaly"


class Telling:
    """The agent's word to one broker."""

    def __init__(self, broker: Broker, reporter: Reporter | None = None) -> None:
        """With a reporter, the broker hears what its metrics need."""
        self._broker = broker
        self._reporter = reporter
        self.last_block: bytes | None = None
        """What was written last, None when that is not known."""

    def publish(self, record: Record) -> None:
        """Write this host's block. Raises Blind."""
        block, self.last_block = encode_record(record), None
        try:
            self._broker.write_block(block)
        except (BrokerUnreachable, BrokerError) as error:
            raise Blind(f"Cannot write the whiteboard: {error}") from error
        self.last_block = block

    def transitions(self, turn: Turn) -> None:
        """Have people notified of every change of state."""
        for step in turn.transitions:
            if step.old is not step.new:
                detail = f"{step.old.value}-{step.new.value}"
                self._tell(self._broker.notify, EVENT, detail)

    def anomaly(self, kind: str, detail: str, *, since: float) -> None:
        """Have people told what is wrong, and since when (seconds since 1970)."""
        self._tell(self._broker.notify, f"{ANOMALY}.{kind}", detail, since=since)

    def alive(self, turn: Turn, sight: Sight, wrong: Collection[Kind]) -> None:
        """Say which hosts are alive and which dead, for the command; a report for the metrics."""
        host_ids = [turn.facts.host_id, *(peer.host_id for peer in turn.facts.alive)]
        report = self._reporter.report(turn, sight, wrong) if self._reporter else None
        self._tell(self._broker.set_live_hosts, host_ids, report, _known_dead(turn))

    def turn_took(self, seconds: float) -> None:
        """Have the next report say how long this turn took."""
        if self._reporter:
            self._reporter.loop_seconds = seconds

    def farewell(self, record: Record) -> None:
        """Publish the last record and give the host id back; what of it fails is logged."""
        try:
            self.publish(record)
        except Blind as error:
            log.error("The whiteboard does not say that this agent has stopped: %s", error)
        self._tell(self._broker.release_host_id)

    def _tell(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell the broker something that the cluster does not depend on."""
        try:
            call(*args, **kwargs)
        except (BrokerUnreachable, BrokerError) as error:
            log.warning("The broker was not told: %s", error)


def _known_dead(turn: Turn) -> list[int]:
    """The hosts not alive that were seen for as long as one counts as alive after a change."""
    facts, history = turn.facts, turn.memory.history
    alive = {peer.host_id for peer in facts.alive}
    limit_seconds = facts.timing.host_alive_seconds
    long_ago = next((old for old in history if old.now + limit_seconds < facts.now), None)
    if long_ago is None:
        return []  # the agent's first minute
    return sorted((long_ago.timestamps.keys() & history[0].timestamps.keys()) - alive)
