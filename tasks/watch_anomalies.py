"""What is wrong with a cluster that is seen from outside, and what has been told of it before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prefect.events import emit_event

from ha.core.record import Verdict
from tasks.env import world
from tasks.journal import Kind, Phase
from tasks.lease import open_leases
from tasks.limits import limit
from tasks.lockspace_area import ranges
from tasks.recorded import look
from tasks.runs import current_run, log
from tasks.watch import Anomaly, HostSight, StorageSight, running

EVENT = "hosted-engine.anomaly."
HANDS_OFF = "GlobalMaintenance"
UNEXPECTEDLY_DOWN = "EngineUnexpectedlyDown"
LATEST_RUNS = 500


@dataclass(frozen=True, slots=True)
class Told:
    """An anomaly that a watch has seen: since when, and when it last told it; times are ISO."""

    kind: str
    host: str
    since: str
    told_at: str


@look
def read_anomalies(
    cluster: str, hosts: tuple[HostSight, ...], storage: StorageSight
) -> tuple[Anomaly, ...]:
    """Return what is wrong, by what was read; nothing else is asked."""
    found = [*_of_hosts(hosts, storage), *_of_storage(storage)]
    if not storage.trouble:
        found += [*_of_maintenance(cluster, storage), *_of_engine(hosts, storage)]
    return tuple(found)


@look
def tell_anomalies(cluster: str, found: tuple[Anomaly, ...]) -> tuple[Told, ...]:
    """Emit an event for what is new, or was told long ago; returns what to remember.

    The last watch's journal is the memory: two watches of one cluster never run at once.
    """
    now = world().clock.now()
    before = {(each.kind, each.host): each for each in _remembered(cluster)}
    told = []
    for anomaly in found:
        known = before.get((anomaly.kind, anomaly.host))
        since = known.since if known else now.isoformat(timespec="seconds")
        if known is None or _long_ago(known, now):
            _emit(cluster, anomaly, since)
            told.append(Told(anomaly.kind, anomaly.host, since, now.isoformat(timespec="seconds")))
        else:
            told.append(known)
    return tuple(told)


def _long_ago(known: Told, now: datetime) -> bool:
    return now - datetime.fromisoformat(known.told_at) >= timedelta(seconds=limit("retell_seconds"))


def _emit(cluster: str, anomaly: Anomaly, since: str) -> None:
    log().warning("%s", anomaly)
    emit_event(
        f"{EVENT}{anomaly.kind}",
        resource={
            "prefect.resource.id": f"hosted-engine.{cluster}",
            "prefect.resource.name": cluster,
            "hosted-engine.host": anomaly.host or "watch",
        },
        payload={
            "cluster": cluster,
            "host": anomaly.host,
            "kind": anomaly.kind,
            "detail": f"{anomaly.detail} (seen from outside)",
            "since": since,
        },
    )


def _remembered(cluster: str) -> tuple[Told, ...]:
    journal, run = world().journal, current_run()
    for earlier in journal.runs(cluster, LATEST_RUNS):
        if run is None or earlier.runbook != run.runbook or earlier.run_id == run.run_id:
            continue
        entry = journal.find(earlier.run_id, Kind.LOOK, tell_anomalies.name, Phase.OUTCOME)
        if entry is not None:
            return tell_anomalies.adapter.validate_python(entry.payload["value"])
    return ()


def _of_hosts(hosts: Sequence[HostSight], storage: StorageSight) -> Iterator[Anomaly]:
    silent = [each for each in hosts if each.look is None]
    if len(silent) == len(hosts):
        yield Anomaly("no-host-answers", "", f"{silent[0].host}: {silent[0].trouble}")
        return
    yield from (Anomaly("host-unreachable", each.host, each.trouble) for each in silent)
    if storage.trouble:
        yield Anomaly("storage-unreadable", "", storage.trouble)
    by_id: dict[int, list[str]] = {}
    for each in hosts:
        if each.configured_id is not None:
            by_id.setdefault(each.configured_id, []).append(each.host)
    for host_id, names in by_id.items():
        if len(names) > 1:
            yield Anomaly("duplicate-host-id", "", f"host id {host_id}: {', '.join(names)}")
    if len(busy := running(hosts)) > 1:
        yield Anomaly("two-vms", "", f"libvirt runs the engine VM on {' and '.join(busy)}")


def _of_storage(storage: StorageSight) -> Iterator[Anomaly]:
    bad = [row for row in storage.rows if row.bad]
    too_new = [row.host_id for row in bad if row.verdict == Verdict.TOO_NEW.value]
    garbage = [row.host_id for row in bad if row.verdict != Verdict.TOO_NEW.value]
    if too_new:
        yield Anomaly("metadata-too-new", "", f"block {ranges(too_new)} is of a newer version")
    if garbage:
        yield Anomaly("metadata-garbage", "", f"block {ranges(garbage)} cannot be read")
    if storage.lockspace_faults:
        each = "; ".join(f"{what}: {ids}" for what, ids in storage.lockspace_faults.items())
        yield Anomaly("lockspace-unusable", "", f"host ids by fault: {each}")


def _of_maintenance(cluster: str, storage: StorageSight) -> Iterator[Anomaly]:
    for lease in open_leases(cluster):
        if lease.overdue and storage.maintenance:
            yield Anomaly(
                "forgotten-maintenance",
                "",
                f"global maintenance was to be left by {lease.deadline:%F %T} UTC: run"
                f" {lease.run_id[:8]} ({lease.runbook}),"
                f" {lease.owner or 'unknown'}: {lease.reason}",
            )


def _of_engine(hosts: Sequence[HostSight], storage: StorageSight) -> Iterator[Anomaly]:
    names = {each.host_id: each.host for each in hosts}
    rows = [row for row in storage.rows if row.host_id in storage.live and row.host_id in names]
    for row in rows:
        if row.state == UNEXPECTEDLY_DOWN:
            yield Anomaly("engine-unexpectedly-down", names[row.host_id], f"{row.hostname} says so")
    eligible = [row for row in rows if row.score]
    if not eligible and not storage.maintenance:
        said = ", ".join(f"{row.hostname}: score {row.score}" for row in rows) or "no host writes"
        yield Anomaly("no-eligible-host", "", said)
