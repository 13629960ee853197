"""The product's daemons on a simulated host: the same wiring as in ha.daemons."""

import logging
from typing import TYPE_CHECKING

from ha.agent import Agent, LostSight, StartPending
from ha.agent_world import World
from ha.broker import BrokerService
from ha.config import BLANK_UUID, BrokerConf, HostedEngineConf, Paths, Settings
from ha.env.ports import BrokerEnv, Env
from ha.simulator.broker_link import SimBrokerLink
from ha.simulator.engine_vm_sim import SimEngineVm
from ha.simulator.host_files import SimFiles, SimRecorder, SimWatchMemory
from ha.simulator.lockspace_sim import SimLockspace
from ha.simulator.probes_sim import SimProbes
from ha.simulator.site import VM_SPACE
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
        engine_vm=SimEngineVm(schedule, host.libvirt, run.process),
        probes=SimProbes(host),
        notifier=Silence(),
        read_domain=lambda: whiteboard.read_blocks([0]),
    )
    interval_seconds = host.site.plan.settings.timing.loop_seconds
    service = BrokerService(env, host.host_id, interval_seconds=interval_seconds)
    try:
        service.start()
        host.service = service
        stopping.wait()
        host.service = None
        service.stop()
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
    return Settings(Paths(), conf_of(host.host_id), host.site.plan.settings, BrokerConf())


def conf_of(host_id: int) -> HostedEngineConf:
    """hosted-engine.conf of a host."""

    def uuid(number: int) -> str:
        return f"{number:08x}-0000-4000-8000-000000000000"

    return HostedEngineConf(
        host_id=host_id,
        vmid=uuid(1),
        fqdn="engine.sim",
        storage="storage.sim:/engine",
        domain_type="nfs",
        sd_uuid=VM_SPACE,
        metadata_image_uuid=uuid(2),
        metadata_volume_uuid=uuid(3),
        lockspace_image_uuid=uuid(4),
        lockspace_volume_uuid=uuid(5),
        conf_image_uuid=uuid(6),
        conf_volume_uuid=uuid(7),
        vm_disk_id=uuid(8),
        vm_disk_vol_id=uuid(9),
        gateway="10.88.0.1",
        bridge="ovirtmgmt",
        network_test="ping",
        tcp_t_address="",
        tcp_t_port=None,
        sp_uuid=BLANK_UUID,
        connection_uuid=uuid(10),
        console="vnc",
        mnt_options="",
        configured=True,
        values={},
    )
