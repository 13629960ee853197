"""What the agent writes on the whiteboard for the others."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from ha.core.facts import EngineStatus, State
from ha.core.record import FEATURE_VERSION, PARSE_VERSION, Record
from ha.core.states import limit_of
from ha.plain import one_line
from ha.turn import Turn

# With the other lines and the first 512 bytes these leave a good part of the block free.
PENALTIES_BYTES = 256
WHY_BYTES = 1024
ONE_WHY_BYTES = 256


@dataclass(frozen=True, slots=True)
class Publisher:
    """This host, as its record says."""

    host_id: int
    hostname: str
    conf_on_shared_storage: bool
    version: str

    def record(self, turn: Turn, *, wall_seconds: float, conf_timestamp: int) -> Record:
        """Return the record of one turn; `wall_seconds` is now, for the dates shown to people."""
        memory, facts = turn.memory, turn.facts
        epoch = wall_seconds - facts.now
        lines = [f"maintenance={memory.state is State.LOCAL_MAINTENANCE}"]
        lines += [f"state={memory.state.value}", "stopped=False"]
        limit = limit_of(memory.state)
        if memory.timer_started is not None and limit is not None:
            ends = memory.timer_started + float(getattr(facts.timing, limit))
            # Upstream prints the monotonic time here as if it were a date: one in 1970.
            lines.append(f"timeout={time.ctime(epoch + ends)}")
        lines += _reasons(turn)
        return self._record(
            lines,
            timestamp=facts.now,
            score=memory.score,
            engine=facts.local.engine,
            maintenance=memory.state is State.LOCAL_MAINTENANCE,
            stopped=False,
            conf_timestamp=conf_timestamp,
            epoch=epoch,
        )

    def farewell(
        self,
        engine: EngineStatus,
        *,
        now: int,
        wall_seconds: float,
        maintenance: bool,
        conf_timestamp: int,
    ) -> Record:
        """Return the record that says that the agent has stopped.

        `maintenance` is what ha.conf says: upstream writes False here whatever it says, so that a
        host in maintenance looks to be in service while its agent is restarted.
        """
        state = State.AGENT_STOPPED.value
        return self._record(
            [
                f"maintenance={maintenance}",
                f"state={state}",
                "stopped=True",
                "why=The agent has ended",
            ],
            timestamp=now,
            score=0,
            engine=engine,
            maintenance=maintenance,
            stopped=True,
            conf_timestamp=conf_timestamp,
            epoch=wall_seconds - now,
        )

    def _record(
        self,
        lines: list[str],
        *,
        timestamp: int,
        score: int,
        engine: EngineStatus,
        maintenance: bool,
        stopped: bool,
        conf_timestamp: int,
        epoch: float,
    ) -> Record:
        head = [
            f"metadata_parse_version={PARSE_VERSION}",
            f"metadata_feature_version={FEATURE_VERSION}",
            f"timestamp={timestamp} ({time.ctime(epoch + timestamp)})",
            f"host-id={self.host_id}",
            f"score={score}",
            f"vm_conf_refresh_time={conf_timestamp} ({time.ctime(epoch + conf_timestamp)})",
            f"conf_on_shared_storage={self.conf_on_shared_storage}",
            # Upstream has no such line: it tells which version runs, not which one is installed.
            f"version={self.version}",
        ]
        return Record(
            host_id=self.host_id,
            timestamp=timestamp,
            score=score,
            engine_status=engine.as_json(),
            hostname=self.hostname,
            maintenance=maintenance,
            stopped=stopped,
            conf_on_shared_storage=self.conf_on_shared_storage,
            local_conf_timestamp=conf_timestamp,
            extra="".join(f"{line}\n" for line in [*head, *lines]),
        )


def _reasons(turn: Turn) -> Iterator[str]:
    """Yield what lowers the score and why the state is what it is; upstream has no such lines.

    They come last and are bounded: a reader that knows upstream's lines has met them before.
    """
    taken = [
        f"{penalty.name} {'all' if penalty.points is None else penalty.points}"
        for penalty in turn.penalties
        if penalty.points != 0
    ]
    if taken:
        yield f"penalties={one_line(', '.join(taken), PENALTIES_BYTES)}"
    whys = [f"{one_line(answer.why, ONE_WHY_BYTES)} [{answer.rule}]" for answer in turn.answers]
    yield f"why={one_line('; '.join(whys), WHY_BYTES)}"
