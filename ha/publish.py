"""What the agent writes on the whiteboard for the others."""

import time
from dataclasses import dataclass

from ha.core.facts import EngineStatus, Facts, Memory, State
from ha.core.record import FEATURE_VERSION, PARSE_VERSION, Record
from ha.core.states import limit_of


@dataclass(frozen=True, slots=True)
class Publisher:
    """This host, as its record says."""

    host_id: int
    hostname: str
    conf_on_shared_storage: bool
    version: str

    def record(
        self,
        memory: Memory,
        facts: Facts,
        *,
        wall_seconds: float,
        conf_timestamp: int,
    ) -> Record:
        """Return the record of one turn; `wall_seconds` is now, for the dates shown to people."""
        epoch = wall_seconds - facts.now
        lines = [f"maintenance={memory.state is State.LOCAL_MAINTENANCE}"]
        lines += [f"state={memory.state.value}", "stopped=False"]
        limit = limit_of(memory.state)
        if memory.timer_started is not None and limit is not None:
            ends = memory.timer_started + float(getattr(facts.timing, limit))
            # Upstream prints the monotonic time here as if it were a date: one in 1970.
            lines.append(f"timeout={time.ctime(epoch + ends)}")
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
            [f"maintenance={maintenance}", f"state={state}", "stopped=True"],
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
