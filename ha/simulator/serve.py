"""The product's daemons on a simulated host: the same wiring as in ha.daemons."""

import logging
from typing import TYPE_CHECKING

from ha.agent import Agent, LostSight, StartPending
from ha.agent_world import World
from ha.broker import BrokerService
from ha.config import BrokerConf, Paths, Settings
from ha.env.ports import BrokerEnv, Env
from ha.simulator.broker_link import SimBrokerLink
from ha.simulator.deployed import conf_of
from ha.simulator.engine_vm_sim import SimEngineVm
from ha.simulator.host_files import SimFiles, SimRecorder, SimWatchMemory
from ha.simulator.lockspace_sim import SimLockspace, SimVmLease
from ha.simulator.probes_sim import SimProbes
from ha.simulator.storage import SimWhiteboard
from ha.simulator.time_sim import SimBell, SimClock, SimThreads
from ha.simulator.unit import FAILED, Run

if TYPE_CHECKING:
    from ha.simulator.host import SimHost

# As in ha.daemons.
BROKER_LIMIT_SECONDS = 20.0

log = logging.getLogger(__name__)


def serve_broker(host: "SimHost", run: Run) -> int:
    """Run the broker of a host until it is stopped; return its exit code."""
    schedule, whiteboard = host.site.schedule, SimWhiteboard(host.site.schedule, host.path)
    stopping = schedule.flag()
    run.stop = stopping.set
    env = BrokerEnv(
        clock=SimClock(schedule, host.time),
        threads=SimThreads(schedule, run.process),
        whiteboard=whiteboard,
        lockspace=SimLockspace(schedule, host.sanlock, host.site.whiteboard_area),
        vm_lockspace=SimLockspace(schedule, host.sanlock, host.site.vm_area),
        vm_lease=SimVmLease(schedule, host.sanlock, host.site.engine.lease, host.path),
        engine_vm=SimEngineVm(schedule, host.libvirt, run.process),
        probes=SimProbes(host),
        notifier=Silence(),
        read_domain=lambda: whiteboard.read_blocks([0]),
    )
    timing = host.site.plan.settings.timing
    service = BrokerService(
        env,
        host.host_id,
        interval_seconds=timing.loop_seconds,
        watch_seconds=timing.watch_seconds,
    )
    try:
        service.start()
        host.service = service
        stopping.wait()
        host.service = None
        service.stop(host_goes_down=host.goes_down)
    finally:
        host.service = None
    return 0


def serve_agent(host: "SimHost", run: Run) -> int:
    """Run the agent of a host until it is stopped; return its exit code."""
    schedule = host.site.schedule
    bell = SimBell(schedule)
    run.stop = bell.stop
    clock = SimClock(schedule, host.time)
    link = SimBrokerLink(schedule, host, BROKER_LIMIT_SECONDS)
    world = World(
        env=Env(
            clock,
            SimThreads(schedule, run.process),
            link,
            SimEngineVm(schedule, host.libvirt, run.process),
        ),
        files=SimFiles(host),
        bell=bell,
        recorder=SimRecorder(host),
        anomalies=SimWatchMemory(host),
        hostname=host.name,
        version=host.version,
    )
    try:
        Agent(world, settings_of(host)).run()
    except (LostSight, StartPending) as error:
        log.error("%s", error)
        return FAILED
    return 0


class Silence:
    """Nobody is told."""

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Do nothing."""


def settings_of(host: "SimHost") -> Settings:
    """What the daemons of a deployed host are told."""
    plan = host.site.plan
    conf = conf_of(host.host_id, plan.deployment)
    return Settings(Paths(), conf, plan.settings, BrokerConf())
