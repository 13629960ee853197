"""The engine VM's lease: who holds it, and what sanlock knows of the holder.

sanlock gives a lease away in four cases (its src/paxos_lease.c): it was given back; its holder's
host id is free; that id is in its next life; or the holder has not renewed its host id for so long
that its watchdog has reset it. In the first three it does so at once. Else who asks for the lease
waits, until the holder renews (-243, "Lease is held by another host") or is dead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ha.core.leases import LeaseHolder, Ownership


class LeaseState(StrEnum):
    """What is known of the lease; the words are sanlock's for its holder's host id."""

    FREE = "free"
    """Whoever asks gets it at once."""
    LIVE = "live"
    """Its holder was seen to renew: asking for it must fail."""
    FAIL = "fail"
    """Its holder has missed so many renewals that it has lost the lease; its VM is killed."""
    DEAD = "dead"
    """Its holder has been silent for so long that its watchdog has reset it."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class VmLease:
    """The lease as one host sees it; `owner` is the host id that holds it, None when nobody does.

    Also None when that is not known.
    """

    state: LeaseState
    owner: int | None = None

    def as_dict(self) -> dict[str, object]:
        """The lease as a monitor's value."""
        return {"owner": self.owner, "state": self.state.value}

    def kept_from(self, host_id: int) -> bool:
        """Whether another host holds it that is seen to live: a start by this one must fail."""
        return self.state is LeaseState.LIVE and self.owner not in (None, host_id)

    def held_by(self, host_id: int) -> bool:
        """Whether this host holds it, and is seen to live."""
        return self.state is LeaseState.LIVE and self.owner == host_id

    @property
    def lost_by(self) -> int | None:
        """The host id that was silent for so long that the lease is lost; None when none was."""
        return self.owner if self.state in (LeaseState.FAIL, LeaseState.DEAD) else None


UNKNOWN_LEASE = VmLease(LeaseState.UNKNOWN)
FREE_LEASE = VmLease(LeaseState.FREE)


def judge_lease(found: Ownership | None, hosts: Sequence[LeaseHolder]) -> VmLease:
    """Judge what sanlock would do if it were asked for the lease now.

    `found` is None when the lease cannot be read. `hosts` are the host ids that sanlock of this
    host saw in use when it renewed its own, which may be a while ago: a holder that is not among
    them, or only in an earlier life, has joined since, and nothing is known of it.
    """
    if found is None:
        return UNKNOWN_LEASE
    if found.timestamp == 0:
        return FREE_LEASE
    holder = next((host for host in hosts if host.host_id == found.host_id), None)
    if holder is None or holder.generation < found.generation:
        return VmLease(LeaseState.UNKNOWN, found.host_id)
    if holder.generation > found.generation:
        return FREE_LEASE
    state = _state_of(holder.state)
    known = state in (LeaseState.LIVE, LeaseState.FAIL, LeaseState.DEAD)
    return VmLease(state if known else LeaseState.UNKNOWN, found.host_id)


def vm_lease_from(value: object) -> VmLease:
    """Read a monitor's value; what is none is unknown."""
    if not isinstance(value, Mapping):
        return UNKNOWN_LEASE
    owner = value.get("owner")
    known = isinstance(owner, int) and not isinstance(owner, bool)
    return VmLease(_state_of(str(value.get("state"))), owner if known else None)


def _state_of(word: str) -> LeaseState:
    return LeaseState(word) if word in set(LeaseState) else LeaseState.UNKNOWN
