"""What is wrong with the cluster that no state of the machine tells, and since when.

`anomalies_of` says what one turn saw. `keep_watch` remembers it: an anomaly is told once it has
lasted as long as its kind asks for, and again only after it had cleared.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ha.core.facts import EngineStatus, Facts, Monotonic, State, Vm
from ha.core.record import Block, Verdict
from ha.core.sighting import VmState


class Kind(StrEnum):
    """The kinds of anomalies, as events name them."""

    METADATA_TOO_NEW = "metadata-too-new"
    METADATA_GARBAGE = "metadata-garbage"
    LOCKSPACE_UNUSABLE = "lockspace-unusable"
    NO_ELIGIBLE_HOST = "no-eligible-host"
    DUPLICATE_HOST_ID = "duplicate-host-id"
    FORGOTTEN_MAINTENANCE = "forgotten-maintenance"
    ENGINE_UNEXPECTEDLY_DOWN = "engine-unexpectedly-down"
    TWO_VMS = "two-vms"


# What is known of the lease on the host id, and not from the whiteboard.
OF_THE_LEASE = frozenset({Kind.LOCKSPACE_UNUSABLE, Kind.DUPLICATE_HOST_ID})
# A VM that starts or waits for its lease says "up" as well, beside the one that runs.
_NOT_RUNNING_YET = (VmState.WAIT_FOR_LAUNCH.value, "Powering up")


@dataclass(frozen=True, slots=True)
class AnomalySettings:
    """How long an anomaly must last before it is told, in seconds; events.conf [anomalies]."""

    no_eligible_host_seconds: float = 120.0
    """A host that has just started has no score yet."""
    forgotten_maintenance_seconds: float = 4 * 3600.0
    """Global maintenance that lasts so long may have been forgotten."""
    two_vms_seconds: float = 75.0
    """After a migration the host that was left says "up" for a turn more, and for a minute a dead
    host looks alive with its old record when a write of it that hung lands at last."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One thing that is wrong; `subject` tells it from others of its kind."""

    kind: Kind
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What is wrong now: since when, and what of it was told."""

    since: Mapping[tuple[Kind, str], Monotonic] = field(default_factory=dict)
    told: frozenset[tuple[Kind, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Told:
    """An anomaly that is to be told now."""

    anomaly: Anomaly
    since: Monotonic


def anomalies_of(
    facts: Facts, bad: Iterable[Block], *, state: State, score: int
) -> tuple[Anomaly, ...]:
    """Return what one turn saw; `state` and `score` are this host's own."""
    found = [_bad_block(block) for block in bad]
    if facts.liveness_known:
        found += _no_eligible_host(facts, score)
        found += _two_vms(facts)
    if facts.global_maintenance:
        found.append(Anomaly(Kind.FORGOTTEN_MAINTENANCE, "", "global maintenance is still on"))
    if state is State.ENGINE_UNEXPECTEDLY_DOWN:
        detail = "the engine VM of this host was unexpectedly shut down"
        found.append(Anomaly(Kind.ENGINE_UNEXPECTEDLY_DOWN, "", detail))
    return tuple(found)


def keep_watch(
    watch: Watch,
    now: Monotonic,
    seen: Iterable[Anomaly],
    settings: AnomalySettings,
    *,
    judged: Collection[Kind] = frozenset(Kind),
) -> tuple[Watch, tuple[Told, ...]]:
    """Take what was seen into the watch, and return it with what is to be told now.

    Only kinds that were `judged` can clear: who did not look does not know that it is over.
    """
    now_wrong = {(each.kind, each.subject): each for each in seen if each.kind in judged}
    kept = {key: at for key, at in watch.since.items() if key in now_wrong or key[0] not in judged}
    since = {**kept, **{key: watch.since.get(key, now) for key in now_wrong}}
    due = [
        key
        for key, anomaly in now_wrong.items()
        if key not in watch.told and now - since[key] >= _lasts(anomaly.kind, settings)
    ]
    told = frozenset(key for key in (*watch.told, *due) if key in since)
    return Watch(since, told), tuple(Told(now_wrong[key], since[key]) for key in due)


def _lasts(kind: Kind, settings: AnomalySettings) -> float:
    return {
        Kind.NO_ELIGIBLE_HOST: settings.no_eligible_host_seconds,
        Kind.FORGOTTEN_MAINTENANCE: settings.forgotten_maintenance_seconds,
        Kind.TWO_VMS: settings.two_vms_seconds,
    }.get(kind, 0.0)


def _bad_block(block: Block) -> Anomaly:
    new = block.verdict is Verdict.TOO_NEW
    kind = Kind.METADATA_TOO_NEW if new else Kind.METADATA_GARBAGE
    return Anomaly(kind, str(block.host_id), f"block {block.host_id}: {block.message}")


def _no_eligible_host(facts: Facts, score: int) -> list[Anomaly]:
    if (score > 0 and not facts.local.maintenance) or any(peer.score > 0 for peer in facts.alive):
        return []
    alive = len(facts.alive) + 1
    detail = f"none of {alive} live hosts has a score above 0 and is in service"
    return [Anomaly(Kind.NO_ELIGIBLE_HOST, "", detail)]


def _two_vms(facts: Facts) -> list[Anomaly]:
    claims = [facts.host_id] if _claims_vm(facts.local.engine) else []
    claims += [peer.host_id for peer in facts.alive if peer.engine and _claims_vm(peer.engine)]
    if len(claims) <= 1:
        return []
    who = ", ".join(str(host_id) for host_id in sorted(claims))
    detail = f"live hosts with ids {who} each say that the engine VM runs there"
    return [Anomaly(Kind.TWO_VMS, "", detail)]


def _claims_vm(engine: EngineStatus) -> bool:
    return engine.vm is Vm.UP and engine.detail not in _NOT_RUNNING_YET
