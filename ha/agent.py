"""The agent: a loop of observe, decide, execute, publish, and wait for the next tick or event.

Stopping the agent never stops the engine VM. An error that nobody thought of ends the process with
a non-zero status after the farewell was published, and systemd starts it again.
"""

import logging
import math
from dataclasses import replace

from ha.agent_log import TurnLog
from ha.agent_world import World
from ha.anomaly_watch import AnomalyWatch
from ha.config import Settings
from ha.core.actions import Action
from ha.core.engine_health import LOCKED, StartPhase
from ha.core.facts import Memory, Monotonic, State
from ha.core.leases import longest_join_seconds
from ha.core.score import CoreSettings
from ha.core.vigil import vigil_of
from ha.engine_events import EngineEvents
from ha.engine_watch import EngineWatch
from ha.env.ports import BrokerError, BrokerUnreachable
from ha.execute import ConfUnavailable, Executor
from ha.observe import Blind, Known, Sight, look_at_host, look_at_whiteboard, observation
from ha.publish import Publisher
from ha.report import reporter_of
from ha.telling import Telling
from ha.turn import Turn, take_turn

log = logging.getLogger(__name__)

# Beyond what sanlock takes for a host id whose last holder crashed: five attempts, slow storage.
JOIN_MARGIN_SECONDS = 100
# An event is answered by a turn at once, but many events by few turns.
_EVENT_GAP_SECONDS = 0.2
_MAINTENANCE = (State.GLOBAL_MAINTENANCE, State.LOCAL_MAINTENANCE)


class Joining(Blind):
    """Raised while the lease on the host id is being taken."""


class StartPending(Exception):
    """Raised when the agent ends while libvirt may still bring the engine VM up for it."""


class LostSight(Exception):
    """Raised when the shared storage could not be looked at for too long."""


class Agent:
    """One agent's life, from taking the host id to the farewell."""

    def __init__(self, world: World, settings: Settings) -> None:
        self._world = world
        self._env = world.env
        self._timing = settings.agent.timing
        host = settings.host
        self._settings = CoreSettings(
            host_id=host.host_id,
            vm_memory_mib=0.0,
            score=settings.agent.score,
            timing=self._timing,
            conf_on_shared_storage=host.conf_on_shared_storage,
        )
        self._publisher = Publisher(
            host.host_id, world.hostname, host.conf_on_shared_storage, world.version
        )
        self._telling = Telling(world.env.broker, reporter_of(settings))
        self._anomalies = AnomalyWatch(
            self._telling, settings.anomalies, world.anomalies, now=self._now()
        )
        self._executor = Executor(
            world.env.engine_vm,
            world.files.vm_xml,
            self._now,
            world.bell.ring,
            clock=world.env.clock,
            threads=world.env.threads,
        )
        self._events = EngineEvents(self._now, world.bell.ring)
        self._watch = EngineWatch(world.env.broker, world.bell.ring, world.env.threads)
        self._memory = Memory()
        self._known = Known()
        self._log = TurnLog()
        self._conf_timestamp = 0
        self._sighted_at: float = self._now()
        self._joining_since: float | None = None
        self._rung_at = -math.inf

    def run(self) -> None:
        """Take turns until told to stop, then say farewell.

        Raises LostSight when the storage stays out of sight.
        """
        if self._world.files.local_maintenance():
            # Parked: nothing is started or stopped, and missing storage is no reason to end. Other
            # than upstream's, a parked agent still publishes that it is in maintenance if it can.
            log.info("Local maintenance set")
            self._memory = Memory(state=State.LOCAL_MAINTENANCE)
        self._env.engine_vm.watch(self._events.happened)
        self._watch.start()
        try:
            while not self._world.bell.stopped:
                self._wait(self._turn_or_blind())
        finally:
            self._farewell()

    def _turn_or_blind(self) -> float:
        """Take one turn; return in how many seconds the next one is due."""
        began = self._env.clock.monotonic()
        try:
            self._turn()
        except Blind as error:
            joining = isinstance(error, Joining)
            self._log.trouble(str(error), began, logging.INFO if joining else logging.ERROR)
            self._check_sight()
            return self._timing.retry_seconds
        self._sighted_at = self._now()
        took_seconds = self._env.clock.monotonic() - began
        self._telling.turn_took(took_seconds)
        return self._timing.loop_seconds - took_seconds

    def _check_sight(self) -> None:
        blind_seconds = self._now() - self._sighted_at
        parked = self._memory.state is State.LOCAL_MAINTENANCE
        if blind_seconds > self._timing.blind_seconds and not parked:
            raise LostSight(f"The shared storage has been out of sight for {blind_seconds:.0f} s")
        if parked and not self._world.files.local_maintenance():
            self._memory, self._sighted_at = Memory(), self._now()

    def _turn(self) -> None:
        self._keep_host_id()
        maintenance = self._world.files.local_maintenance()
        self._refresh_conf()
        written = self._telling.last_block
        turn, sight = self._decide(maintenance)
        self._memory = turn.memory
        if turn.memory.state in _MAINTENANCE:
            self._executor.end_start()
        self._log.turn(turn, epoch=self._epoch())
        self._telling.transitions(turn)
        self._telling.publish(
            self._publisher.record(
                turn,
                wall_seconds=self._env.clock.wall(),
                conf_timestamp=self._conf_timestamp,
            )
        )
        self._watch.keep(vigil_of(turn.memory, turn.facts, sight.peers))
        self._anomalies.turn(turn, sight, written=written, epoch=self._epoch())
        self._telling.alive(turn, sight, self._anomalies.wrong)

    def _decide(self, maintenance: bool) -> tuple[Turn, Sight]:
        """Observe, decide and execute; whatever happens in between, the records say it."""
        broker, timing = self._env.broker, self._timing
        local = look_at_host(broker, maintenance=maintenance)
        sight = look_at_whiteboard(
            broker,
            self._known,
            host_id=self._settings.host_id,
            now=self._now(),
            full_read_seconds=timing.full_read_seconds,
        )
        self._known = sight.known
        now = self._now()
        self._log.bad_blocks(sight.bad, now)
        self._executor.settle(
            self._events.over(local.engine),
            self._events.heard,
            lease_elsewhere=local.lease.kept_from(self._settings.host_id),
        )
        local = replace(local, engine=self._executor.engine)
        settings = replace(self._settings, vm_memory_mib=self._world.files.vm_memory_mib())
        seen = observation(now, local, sight)
        results: dict[Action, bool] = {}

        def perform(action: Action) -> bool:
            results[action] = self._executor.perform(action)
            return results[action]

        before = self._memory
        turn = take_turn(before, seen, settings, perform)
        self._world.recorder.record(before, seen, turn, settings, results)
        return turn, sight

    def _refresh_conf(self) -> None:
        """Fetch vm.conf again; without it the last one counts, and the record tells its age."""
        try:
            self._world.files.refresh()
            self._conf_timestamp = self._now()
        except ConfUnavailable as error:
            self._log.trouble(f"Cannot refresh vm.conf: {error}", self._now())

    def _keep_host_id(self) -> None:
        """See that the lease on the host id is held. Raises Joining while it is being taken.

        Nothing here waits for it, so that the agent can be stopped at any time.
        """
        try:
            if not self._env.broker.host_id_locked():
                self._env.broker.lock_host_id()
            self._joining_since = None
        except (BrokerUnreachable, BrokerError) as error:
            if not isinstance(error, BrokerError) or error.kind != "joining":
                self._anomalies.lease_refused(error, self._now(), epoch=self._epoch())
                raise Blind(f"Cannot lock the host id: {error}") from error
            now = self._now()
            self._joining_since = self._joining_since or now
            longest = longest_join_seconds(self._timing.io_timeout_seconds) + JOIN_MARGIN_SECONDS
            if now - self._joining_since <= longest:
                self._sighted_at = now  # sanlock is at work on the storage
            raise Joining(f"Host id is not locked yet: {error.message}") from error

    def _farewell(self) -> None:
        """Say on the whiteboard that this agent has stopped, and give the host id back.

        Raises StartPending, and says nothing, while the VM may yet come up by this agent's doing.
        """
        if not self._executor.give_up_start():
            raise StartPending(
                "The start of the engine VM cannot be ended and the VM may yet come up here: the"
                " whiteboard does not say that this agent has stopped"
            )
        given_up = self._executor.start.phase is StartPhase.LOCKED
        record = self._publisher.farewell(
            LOCKED if given_up else self._executor.engine,
            now=self._now(),
            wall_seconds=self._env.clock.wall(),
            maintenance=self._world.files.local_maintenance(),
            conf_timestamp=self._conf_timestamp,
        )
        self._telling.farewell(record)
        log.info("Agent shutting down")

    def _wait(self, seconds: float) -> None:
        if self._world.bell.stopped:
            return
        if self._world.bell.wait(seconds) and not self._world.bell.stopped:
            now = self._env.clock.monotonic()
            pause_seconds = max(0.0, self._rung_at + _EVENT_GAP_SECONDS - now)
            self._env.clock.sleep(pause_seconds)
            self._rung_at = now + pause_seconds

    def _now(self) -> Monotonic:
        return Monotonic(int(self._env.clock.monotonic()))

    def _epoch(self) -> float:
        return self._env.clock.wall() - self._env.clock.monotonic()
