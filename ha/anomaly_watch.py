"""The agent's watch for anomalies: what it sees is logged, and told to the broker once."""

import logging

from ha.agent_world import WatchMemory
from ha.core.anomalies import (
    OF_THE_LEASE,
    Anomaly,
    AnomalySettings,
    Kind,
    anomalies_of,
    keep_watch,
)
from ha.core.facts import Monotonic
from ha.core.record import Record, judge_block
from ha.env.ports import BrokerError, BrokerUnreachable
from ha.observe import Sight
from ha.telling import Telling
from ha.turn import Turn

log = logging.getLogger(__name__)

_LEASE_TROUBLE = {
    "lockspace": Kind.LOCKSPACE_UNUSABLE,
    "host_id_taken": Kind.DUPLICATE_HOST_ID,
}


class AnomalyWatch:
    """What is wrong as this agent sees it, remembered in `kept`; nothing here raises or waits."""

    def __init__(
        self, telling: Telling, settings: AnomalySettings, kept: WatchMemory, *, now: Monotonic
    ) -> None:
        self._telling = telling
        self._settings = settings
        self._kept = kept
        self._watch = kept.load(now)
        self._stranger: Anomaly | None = None

    @property
    def wrong(self) -> frozenset[Kind]:
        """The kinds of what is wrong now and was told."""
        return frozenset(kind for kind, _subject in self._watch.told)

    def turn(self, turn: Turn, sight: Sight, *, written: bytes | None, epoch: float) -> None:
        """Judge what a turn saw; `epoch` is wall time less monotonic time, for the dates.

        `written` is this host's block as it was written before that look, None if not known.
        """
        memory, facts = turn.memory, turn.facts
        found = anomalies_of(facts, sight.bad, state=memory.state, score=memory.score)
        if sight.own is not None:
            self._stranger = _stranger(facts.host_id, sight.own, written)
        strangers = (self._stranger,) if self._stranger else ()
        self._keep(facts.now, (*found, *strangers), frozenset(Kind), epoch)

    def lease_refused(
        self, refusal: BrokerUnreachable | BrokerError, now: Monotonic, *, epoch: float
    ) -> None:
        """Judge why the lease on the host id could not be taken."""
        kind = _LEASE_TROUBLE.get(refusal.kind) if isinstance(refusal, BrokerError) else None
        if kind is not None:
            self._keep(now, (Anomaly(kind, "lease", str(refusal)),), OF_THE_LEASE, epoch)

    def _keep(
        self, now: Monotonic, seen: tuple[Anomaly, ...], judged: frozenset[Kind], epoch: float
    ) -> None:
        self._watch, due = keep_watch(self._watch, now, seen, self._settings, judged=judged)
        for told in due:
            anomaly = told.anomaly
            log.error("Anomaly %s: %s", anomaly.kind.value, anomaly.detail)
            self._telling.anomaly(anomaly.kind.value, anomaly.detail, since=epoch + told.since)
        self._kept.save(self._watch, now)


def _stranger(host_id: int, found: bytes, written: bytes | None) -> Anomaly | None:
    """Who has our own block, if not we: nobody else may hold the lease on our id.

    An empty one was cleaned by an operator, and is no stranger's.
    """
    if written is None or not any(found) or found == written:
        return None
    record = judge_block(host_id, found).record
    who = record.hostname if isinstance(record, Record) else "something that is no record"
    detail = f"block {host_id} of this host was written by another: {who}"
    return Anomaly(Kind.DUPLICATE_HOST_ID, "block", detail)
