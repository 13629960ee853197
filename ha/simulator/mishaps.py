"""What random runs are made of: a plan, a beginning, faults, and all put right at the end."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from ha.config import AgentConf
from ha.core.timing import Timing
from ha.simulator.cluster import Cluster
from ha.simulator.host import SimHost
from ha.simulator.site import Plan

STEP_SECONDS = 5.0
SHARE_IN_MAINTENANCE = 0.2
SHARE_OF_SHORT = 0.6
"""Of the runs: with limits that are short against the time between two faults."""
WATCH_SECONDS = 2.0
"""Looking at the engine of a peer several times a second costs more than all else together."""
FAULTS = (
    "power-off HOST",
    "power-off HOST",
    "power-on HOST",
    "power-off all",
    "power-on all",
    "reset HOST",
    "shut-down HOST",
    "freeze HOST",
    "thaw HOST",
    "kill-vm",
    "kill-vm",
    "stop-engine",
    "heal-engine",
    "hang-engine-shutdown",
    "start-fails HOST",
    "start-works HOST",
    "migrate HOST HOST",
    "libvirt-lost HOST",
    "libvirt-back HOST",
    "gateway-lost HOST",
    "gateway-back HOST",
    "packet-loss HOST SHARE",
    "network-cut HOST",
    "network-back HOST",
    "bridge-down HOST",
    "storage-lost HOST",
    "storage-lost HOST",
    "storage-error HOST",
    "storage-slow HOST SECONDS",
    "storage-back HOST",
    "storage-back HOST",
    "lose-write HOST",
    "tear-write HOST",
    "garbage NUMBER",
    "too-new NUMBER",
    "empty-block NUMBER",
    "corrupt-lockspace",
    "kill-agent HOST",
    "kill-broker HOST",
    "stop-agent HOST",
    "start-agent HOST",
    "stop-broker HOST",
    "start-broker HOST",
    "hang-broker HOST",
    "resume-broker HOST",
    "disk-full HOST",
    "clock-jump HOST OFFSET",
    "clock-drift HOST PPM",
    "duplicate-id HOST",
    "maintenance global",
    "maintenance none",
    "local-maintenance HOST on",
    "local-maintenance HOST off",
    "cpu-load HOST SHARE",
    "low-memory HOST",
)
HEALING = (
    "thaw HOST",
    "storage-back HOST",
    "gateway-back HOST",
    "network-back HOST",
    "bridge-up HOST",
    "libvirt-back HOST",
    "start-works HOST",
    "enough-memory HOST",
    "cpu-load HOST 0.1",
    "clock-drift HOST 0",
    "local-maintenance HOST off",
    "resume-broker HOST",
    "disk-freed HOST",
    "right-id HOST",
    "power-on HOST",
    "start-broker HOST",
    "start-agent HOST",
)


def begin(cluster: Cluster, random: Random) -> None:
    """Let the cluster start, wholly or not, and in some of the runs go into maintenance."""
    longest_seconds = random.choice((30.0, 120.0, 400.0, 400.0))
    while not cluster.serves and cluster.now < longest_seconds:
        cluster.run_until(cluster.now + random.random() * STEP_SECONDS)
    if cluster.serves and random.random() < SHARE_IN_MAINTENANCE:
        cluster.do("maintenance global")
        cluster.run_until(cluster.now + STEP_SECONDS)


def press_on(cluster: Cluster, well: Sequence[SimHost]) -> None:
    """Do once more what a host that was just shutting down did not hear, or had no broker for."""
    for host in well:
        if not host.on:
            cluster.do(f"power-on {host.name}")
    if cluster.global_maintenance is not False:
        cluster.do("maintenance none")


def put_right(cluster: Cluster, random: Random) -> Sequence[SimHost]:
    """Put everything right on some hosts, cut the power of the others; return the former."""
    hosts = list(cluster.hosts)
    well = random.sample(hosts, random.randint(1, len(hosts)))
    for host in hosts:
        if host not in well:
            cluster.do(f"power-off {host.name}")
    for words in ("heal-engine", "mend-lockspace", *(f"mend-block {n}" for n in range(5))):
        cluster.do(words)
    for host in hosts:
        for words in HEALING if host in well else ():
            cluster.do(words.replace("HOST", host.name))
    return well


def _filled(words: str, cluster: Cluster, random: Random) -> str:
    """Return the words with something in place of what stands for something."""
    values = {
        "HOST": lambda: random.choice(cluster.hosts).name,
        "SHARE": lambda: f"{random.random():.2f}",
        "SECONDS": lambda: f"{random.choice((0.5, 5.0, 12.0, 3600.0)):g}",
        "OFFSET": lambda: str(random.choice((-3600, -5, 5, 86400))),
        "PPM": lambda: str(random.choice((-5000, -200, 200, 5000))),
        "NUMBER": lambda: str(random.randint(0, len(cluster.hosts) + 1)),
    }
    return " ".join(values[word]() if word in values else word for word in words.split())


def random_plan(random: Random, seed: int) -> Plan:
    """Return a cluster to be simulated."""
    timing = Timing(watch_seconds=WATCH_SECONDS, io_timeout_seconds=random.choice((10, 10, 5)))
    if random.random() < SHARE_OF_SHORT:
        timing = replace(
            timing,
            bad_health_seconds=60.0,
            stopping_seconds=60.0,
            starting_seconds=200.0,
            unexpected_seconds=120.0,
        )
    return Plan(
        hosts=random.choice((2, 2, 3, 3, 4)),
        seed=seed,
        settings=AgentConf(timing=timing),
        boot_seconds=random.choice((20.0, 60.0)),
        engine_boot_seconds=random.choice((10.0, 40.0)),
        engine_health_seconds=random.choice((10.0, 60.0)),
    )


def random_fault(cluster: Cluster, random: Random) -> None:
    """Do a fault, and let some time pass."""
    cluster.do(_filled(random.choice(FAULTS), cluster, random))
    longest_seconds = random.choice((0.0, 3.0, 15.0, 60.0, 150.0, 300.0))
    cluster.run_until(cluster.now + longest_seconds * random.random())
