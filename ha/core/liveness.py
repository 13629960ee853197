"""Who is alive: judged by change of a peer's timestamp, on our own clock.

A peer's timestamp is seconds of *its* monotonic clock: only that it changes means something.
Upstream counts a host that it sees for the first time as alive; a stale block of a dead host then
looks alive for a minute after every restart. Here a host is alive once its timestamp has been
*seen* to change, and as long as nobody can be known alive no decision rests on it.

What sanlock knows of the host that holds the VM's lease counts too: one that has not renewed for so
long that the lease is lost is not alive, whatever its record says. Its VM is being killed.
"""

from collections.abc import Iterator
from dataclasses import replace

from ha.core.facts import Facts, Memory, Observation, Peer, Snapshot
from ha.core.score import CoreSettings


def look(memory: Memory, seen: Observation, settings: CoreSettings) -> tuple[Memory, Facts]:
    """Take an observation into memory and return the facts of this turn."""
    timing = settings.timing
    window = _window(memory.history, seen, timing.host_alive_seconds)
    lease = seen.local.lease
    alive = () if window is None else tuple(_alive(seen.peers, window, lost_by=lease.lost_by))
    facts = Facts(
        now=seen.now,
        host_id=settings.host_id,
        local=seen.local,
        global_maintenance=seen.global_maintenance,
        alive=alive,
        liveness_known=window is not None,
        timing=timing,
        lease_host=next((peer.hostname for peer in seen.peers if peer.host_id == lease.owner), ""),
    )
    snapshot = Snapshot(
        now=seen.now,
        cpu_load=seen.local.cpu_load,
        timestamps={peer.host_id: peer.timestamp for peer in seen.peers},
    )
    oldest = seen.now - timing.history_seconds
    kept = tuple(old for old in memory.history if old.now > oldest)
    memory = replace(memory, history=(snapshot, *kept))
    expires = timing.retry_expiration_seconds
    if memory.last_start is not None and seen.now - memory.last_start >= expires:
        memory = replace(memory, retries=0, last_start=None)
    return memory, facts


def _window(
    history: tuple[Snapshot, ...], seen: Observation, alive_seconds: float
) -> tuple[Snapshot, ...] | None:
    """The newest snapshot that is older than the limit and all later ones; None if none is."""
    for index, snapshot in enumerate(history):
        if snapshot.now + alive_seconds < seen.now:
            return history[: index + 1]
    return None


def _alive(
    peers: tuple[Peer, ...], window: tuple[Snapshot, ...], *, lost_by: int | None
) -> Iterator[Peer]:
    for peer in peers:
        if peer.host_id == lost_by:
            continue
        stamps = {snapshot.timestamps.get(peer.host_id, peer.timestamp) for snapshot in window}
        if stamps - {peer.timestamp} and peer.engine is not None:
            yield peer
