"""What a host keeps an eye on between two turns, so that it hears at once when the VM has gone.

While the engine runs on a peer, a look at that peer's block and at the VM's lease several times a
second tells of the VM's end long before the next turn. Few hosts do it: a start needs one, and the
storage must not carry more looks the more hosts there are.
"""

from dataclasses import dataclass

from ha.core.facts import Facts, Memory, Peer, State, Vm
from ha.core.vm_lease import VmLease

WATCHERS = 3
"""So many hosts look, those that would start the VM next."""


@dataclass(frozen=True, slots=True)
class Vigil:
    """A host to be watched, and what was seen of it and of the lease when this was decided."""

    host_id: int
    mark: str


def mark_of(lease: VmLease, vm: Vm | None) -> str:
    """Return what must change for a look to matter; `vm` is the watched host's word for it."""
    return f"lease {lease.state.value} {lease.owner}, vm {vm.value if vm else None}"


def vigil_of(memory: Memory, facts: Facts, peers: tuple[Peer, ...]) -> Vigil | None:
    """Return what to watch after this turn, None when nothing or when others do.

    `peers` are all that have a block, also those that are not alive.
    """
    watched = _watched(facts)
    if watched is None or memory.state is not State.ENGINE_DOWN or memory.score == 0:
        return None  # there is nothing to watch, or no start could follow
    better = sum(
        (peer.score, -peer.host_id) > (memory.score, -facts.host_id)
        for peer in facts.alive
        if peer.host_id != watched
    )
    if better >= WATCHERS:
        return None
    engine = next((peer.engine for peer in peers if peer.host_id == watched), None)
    return Vigil(watched, mark_of(facts.local.lease, engine.vm if engine else None))


def _watched(facts: Facts) -> int | None:
    """The host that runs the engine, or whoever holds its lease."""
    engine = facts.best_engine_peer
    if engine is not None and facts.best_engine.vm is Vm.UP:
        return engine.host_id
    owner = facts.local.lease.owner
    return owner if facts.liveness_known and owner != facts.host_id else None
