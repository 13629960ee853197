"""The two daemons of a real host, wired to its clock, storage, sanlock, libvirt and network."""

import logging
import signal
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING

from ha.agent_files import HostFiles
from ha.agent_run import run_agent
from ha.agent_world import World
from ha.anomaly_memory import WatchFile
from ha.bell import QueueBell
from ha.broker import BrokerService
from ha.broker_server import BrokerServer
from ha.config import ConfigError, HostedEngineConf, Paths, Settings
from ha.config_events import read_events_conf, with_anomaly_settings
from ha.config_files import load_settings
from ha.deploy_storage import LOCKSPACE_NAME
from ha.env import network_probes
from ha.env.clock import HostClock
from ha.env.engine_vm import LibvirtEngineVm
from ha.env.lockspace import SanlockLockspace
from ha.env.ports import BrokerEnv, Env, Notifier
from ha.env.probes import HostProbes
from ha.env.threads import HostThreads
from ha.env.vm_lease import StorageVmLease
from ha.env.whiteboard import StorageWhiteboard
from ha.recorder import FlightRecorder
from ha.rpc import BrokerLink
from ha.services import host_goes_down
from ha.storage_connect import connect
from ha.storage_domain import storage_domain_of

if TYPE_CHECKING:
    from ha.env.notifier import Notifiers
    from ha.serve_metrics import Metrics

# Beyond the time in which the broker gives up on storage that hangs.
BROKER_LIMIT_SECONDS = 20.0

log = logging.getLogger(__name__)


def serve_broker(paths: Paths) -> None:
    """Run the broker until SIGTERM or SIGINT.

    Raises ConfigError, StorageError, and BrokerError when a broker runs already.
    """
    settings = load_settings(paths)
    notifier = notifier_of(settings)
    env = broker_env(settings, notifier)
    metrics = _metrics(settings, env, notifier)
    interval_seconds = settings.agent.timing.loop_seconds
    service = BrokerService(
        metrics.env if metrics else env,
        settings.host.host_id,
        interval_seconds=interval_seconds,
        watch_seconds=settings.agent.timing.watch_seconds,
    )
    with BrokerServer(paths.broker_socket, service) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        service.start()
        if metrics:
            metrics.serve(service, settings.host.host_id)
        log.info("Broker of host id %s listens on %s", settings.host.host_id, paths.broker_socket)
        server.serve_forever()
        service.stop(host_goes_down=host_goes_down())
    paths.broker_socket.unlink(missing_ok=True)
    log.info("Broker shutting down")


def serve_agent(paths: Paths) -> None:
    """Run the agent until SIGTERM or SIGINT. Raises ConfigError and what run_agent raises."""
    settings = _agent_settings(paths)
    clock, threads = HostClock(), HostThreads()
    domain = storage_domain_of(settings.host.values, paths.root)
    link = BrokerLink(paths.broker_socket, BROKER_LIMIT_SECONDS)
    world = World(
        env=Env(clock, threads, link, LibvirtEngineVm()),
        files=HostFiles(
            settings, domain.prepared(domain.configuration), clock=clock, threads=threads
        ),
        bell=QueueBell(),
        recorder=FlightRecorder(paths.recording, int(clock.wall()), wall=clock.wall),
        anomalies=WatchFile(paths.anomalies),
        hostname=socket.gethostname(),
    )
    run_agent(world, settings)


def broker_env(settings: Settings, notifier: Notifier) -> BrokerEnv:
    """Connect the storage domain and return the ports on it and on this host.

    Raises StorageError.
    """
    paths, host = settings.paths, settings.host
    domain = storage_domain_of(host.values, paths.root)
    connect(domain, options=host.mnt_options)
    clock, io_timeout_seconds = HostClock(), settings.agent.timing.io_timeout_seconds
    vm_lockspace = SanlockLockspace(
        domain.sd_uuid, domain.ids, io_timeout_seconds=io_timeout_seconds
    )
    return BrokerEnv(
        clock=clock,
        threads=HostThreads(),
        whiteboard=StorageWhiteboard(domain.prepared(domain.metadata)),
        lockspace=SanlockLockspace(
            LOCKSPACE_NAME,
            domain.prepared(domain.lockspace),
            io_timeout_seconds=io_timeout_seconds,
        ),
        vm_lockspace=vm_lockspace,
        vm_lease=StorageVmLease(
            vm_lockspace, domain.sd_uuid, domain.engine_disk.volume, domain.vm_lease
        ),
        engine_vm=LibvirtEngineVm(),
        probes=HostProbes(
            network_probe(host),
            host.bridge,
            host.fqdn,
            monotonic=clock.monotonic,
            pause=clock.sleep,
        ),
        notifier=notifier,
        read_domain=partial(StorageWhiteboard(domain.special("metadata")).read_blocks, [0]),
    )


def _agent_settings(paths: Paths) -> Settings:
    settings = load_settings(paths)
    try:
        return with_anomaly_settings(settings)
    except ConfigError as error:
        log.error("The usual limits for anomalies count: %s", error)
        return settings


def _metrics(settings: Settings, env: BrokerEnv, notifier: "Notifiers") -> "Metrics | None":
    address = settings.broker.metrics_listen
    if address is None:
        return None
    # Who serves no metrics need not carry what serves them.
    from ha.serve_metrics import Metrics  # noqa: PLC0415

    return Metrics(address, env, notifier.outboxes)


def notifier_of(settings: Settings) -> "Notifiers":
    """Return who tells people: by mail, and by events when events.conf says where to.

    A broken events.conf is logged: HA does not stop because somebody cannot be told.
    """
    # The agent tells nobody itself, and mail's modules are 8 MB.
    from ha.env.notifier import MailNotifier, Notifiers  # noqa: PLC0415

    mail = MailNotifier(settings.broker, settings.paths.notifications)
    only_mail = Notifiers((mail,), {"mail": mail.outbox})
    try:
        events = read_events_conf(settings.paths.events_conf)
        if events is None:
            return only_mail
        events.credentials()
    except ConfigError as error:
        log.error("No events are sent: %s", error)
        return only_mail
    # Who sends no events need not carry what sends them.
    from ha.env.event_notifier import EventNotifier  # noqa: PLC0415

    log.info("Events go to %s", events.url)
    posted = EventNotifier(events, settings.paths.events_waiting)
    return Notifiers((mail, posted), {"mail": mail.outbox, "events": posted.outbox})


def network_probe(host: HostedEngineConf) -> network_probes.Probe:
    """Return the network test that hosted-engine.conf names."""
    if host.network_test == "dns":
        return network_probes.dns
    if host.network_test == "none":
        return network_probes.always
    if host.network_test == "tcp" and host.tcp_t_port is not None:
        return partial(network_probes.tcp, host.tcp_t_address, host.tcp_t_port)
    return partial(network_probes.ping, host.gateway)
