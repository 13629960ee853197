"""What only the agent knows of itself, told to the broker with each turn, for its metrics."""

from collections.abc import Collection
from dataclasses import dataclass

from ha.config import Settings
from ha.core.anomalies import Kind
from ha.core.score import Penalty
from ha.env.ports import Report
from ha.observe import Sight
from ha.plain import one_line
from ha.turn import Turn
from ha.version import version

NAME_BYTES = 255


@dataclass(slots=True)
class Reporter:
    """One agent's account of itself."""

    version: str
    base_score: int
    turns: int = 0
    loop_seconds: float | None = None
    """How long the last whole turn took."""

    def report(self, turn: Turn, sight: Sight, wrong: Collection[Kind]) -> Report:
        """Return what one turn came to, ready for JSON; `wrong` are the anomalies of now."""
        self.turns += 1
        memory, facts = turn.memory, turn.facts
        alive = {peer.host_id for peer in facts.alive}
        return {
            "version": self.version,
            "state": memory.state.value,
            "rule": turn.answers[-1].rule,
            "score": memory.score,
            "penalties": {one.name: _points(one, self.base_score) for one in turn.penalties},
            "turns": self.turns,
            "loop_seconds": self.loop_seconds,
            "global_maintenance": facts.global_maintenance,
            "local_maintenance": facts.local.maintenance,
            "retries": memory.retries,
            "bad_blocks": len(sight.bad),
            "anomalies": sorted(kind.value for kind in wrong),
            "peers": [
                [p.host_id, one_line(p.hostname, NAME_BYTES), p.host_id in alive, p.score]
                for p in sight.peers
            ],
        }


def reporter_of(settings: Settings) -> Reporter | None:
    """Return who reports, None when no metrics are served: nobody would listen."""
    if settings.broker.metrics_listen is None:
        return None
    return Reporter(version(), settings.agent.score.base_score)


def _points(penalty: Penalty, base_score: int) -> int:
    return base_score if penalty.points is None else penalty.points
