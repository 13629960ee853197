"""From what broker and agent know at one moment to the samples that are served."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ha.core.anomalies import Kind
from ha.core.facts import UNKNOWN_ENGINE, Health, State, Vm, engine_status
from ha.core.leases import LeaseHolder
from ha.core.vm_lease import LeaseState, vm_lease_from
from ha.env.live_hosts import LiveHosts
from ha.metered import Times
from ha.metrics import Sample, sample
from ha.told import Told, number_of

MIB = 1024 * 1024
PENALTIES = ("state", "config", "network", "bridge", "cpu", "memory", "retries")


@dataclass(frozen=True, slots=True)
class LeaseLook:
    """This host's id in one lockspace; None where sanlock did not answer."""

    lockspace: str
    held: bool | None = None
    age_seconds: float | None = None
    holders: Sequence[LeaseHolder] = ()


@dataclass(frozen=True, slots=True)
class Channel:
    """One way of telling people."""

    name: str
    waiting: int
    lost: int


@dataclass(frozen=True, slots=True)
class Look:
    """All that the metrics are made of."""

    version: str
    live: LiveHosts
    monitors: Mapping[str, object]
    leases: Sequence[LeaseLook]
    storage: Mapping[str, Times]
    transitions: Mapping[str, int]
    anomalies: Mapping[str, int]
    channels: Sequence[Channel]


def samples(look: Look) -> Iterator[Sample]:
    """Yield every sample."""
    yield sample("build_info", 1, daemon="broker", version=look.version)
    yield from _agent(look.live)
    yield from _monitors(look.monitors)
    for lease in look.leases:
        yield from _lease(lease)
    for operation, times in look.storage.items():
        yield from _storage(operation, times)
    for detail, count in look.transitions.items():
        old, _, new = detail.partition("-")
        yield sample("transitions_total", count, **{"from": old, "to": new})
    for kind in Kind:
        yield sample("anomalies_total", look.anomalies.get(kind.value, 0), kind=kind.value)
    for channel in look.channels:
        yield sample("notifications_waiting", channel.waiting, channel=channel.name)
        yield sample("notifications_lost_total", channel.lost, channel=channel.name)


def _agent(live: LiveHosts) -> Iterator[Sample]:
    if live.age_seconds is None:
        return  # no agent has said anything yet
    yield sample("agent_report_age_seconds", live.age_seconds)
    yield sample("hosts_alive", len(live.host_ids))
    if live.report is None:
        return  # an agent of a version that does not report
    told = Told(live.report)
    version = told.text("version")
    if version is not None:
        yield sample("build_info", 1, daemon="agent", version=version)
    for name, key in (
        ("agent_turns_total", "turns"),
        ("loop_seconds", "loop_seconds"),
        ("score", "score"),
        ("global_maintenance", "global_maintenance"),
        ("local_maintenance", "local_maintenance"),
        ("start_retries", "retries"),
        ("bad_blocks", "bad_blocks"),
    ):
        value = told.number(key)
        if value is not None:
            yield sample(name, value)
    yield from _decision(told)
    yield from _peers(told)


def _decision(told: Told) -> Iterator[Sample]:
    state, rule = told.text("state"), told.text("rule")
    if state is not None:
        for one in State:
            yield sample("state", one == state, state=one.value)
    if rule is not None:
        yield sample("rule_info", 1, rule=rule)
    penalties = told.numbers("penalties")
    if penalties is not None:
        for reason in (*PENALTIES, *sorted(set(penalties) - set(PENALTIES))):
            yield sample("score_penalty_points", penalties.get(reason, 0.0), reason=reason)
    now = told.texts("anomalies")
    if now is not None:
        for kind in Kind:
            yield sample("anomaly", kind.value in now, kind=kind.value)


def _peers(told: Told) -> Iterator[Sample]:
    for row in told.rows("peers"):
        match row:
            case [int(host_id), str(hostname), bool(alive), score]:
                labels = {"host_id": str(host_id), "hostname": hostname}
                yield sample("peer_alive", alive, **labels)
                points = number_of(score)
                if points is not None:
                    yield sample("peer_score", points, **labels)
            case _:
                continue


def _monitors(values: Mapping[str, object]) -> Iterator[Sample]:
    engine = engine_status(values.get("engine-health")) or UNKNOWN_ENGINE
    for vm in Vm:
        yield sample("vm_state", vm is engine.vm, vm=vm.value)
    for health in Health:
        yield sample("engine_health", health is engine.health, health=health.value)
    lease = vm_lease_from(values.get("vm-lease"))
    for state in LeaseState:
        yield sample("vm_lease_state", state is lease.state, state=state.value)
    yield sample("vm_lease_owner", lease.owner or 0)
    told = Told(values)
    for name, key, unit in (
        ("network_ratio", "network", 1),
        ("bridge_up", "bridge", 1),
        ("memory_free_bytes", "mem-free", MIB),
        ("cpu_load_ratio", "cpu-load", 1),
        ("storage_domain_valid", "storage-domain", 1),
    ):
        value = told.number(key)
        if value is not None:
            yield sample(name, value * unit)


def _lease(lease: LeaseLook) -> Iterator[Sample]:
    if lease.held is not None:
        yield sample("lease_held", lease.held, lockspace=lease.lockspace)
    if lease.age_seconds is not None:
        yield sample("lease_age_seconds", lease.age_seconds, lockspace=lease.lockspace)
    for holder in lease.holders:
        labels = {"lockspace": lease.lockspace, "host_id": str(holder.host_id)}
        yield sample("host_lease_state", 1, **labels, state=holder.state)


def _storage(operation: str, times: Times) -> Iterator[Sample]:
    labels = {"operation": operation}
    yield Sample("storage_seconds", times.total_seconds, labels, "_sum")
    yield Sample("storage_seconds", times.count, labels, "_count")
    yield sample("storage_waiting_seconds", times.waiting_seconds, **labels)
    yield sample("storage_failures_total", times.failures, **labels)
    if times.last_seconds is not None:
        yield sample("storage_last_seconds", times.last_seconds, **labels)
