"""Who holds the VM's lease, over all that may be read of it and of its holder."""

import struct
from itertools import product

import pytest

from ha.core.leases import (
    DELTA_DISK_MAGIC,
    PAXOS_DISK_MAGIC,
    LeaseHolder,
    Ownership,
    crc32c,
    read_ownership,
    with_another_io_timeout,
)
from ha.core.vm_lease import (
    FREE_LEASE,
    UNKNOWN_LEASE,
    LeaseState,
    VmLease,
    judge_lease,
    vm_lease_from,
)

L = LeaseState
WORDS = ("unknown", "free", "live", "fail", "dead", "a word of a later sanlock")


def test_every_case() -> None:
    """As sanlock would judge, were it asked for the lease now (its src/paxos_lease.c)."""
    for taken, seen, word in product((0, 77), (None, 4, 5, 6), WORDS):
        found = Ownership(host_id=2, generation=5, timestamp=taken)
        other = LeaseHolder(1, "live", 9, 100)
        hosts = [other] if seen is None else [other, LeaseHolder(2, word, seen, 100)]
        lease = judge_lease(found, hosts)
        if not taken:
            assert lease == FREE_LEASE, "it was given back"
        elif seen is None or seen < 5:
            assert lease == VmLease(L.UNKNOWN, 2), "its holder joined since sanlock looked"
        elif seen > 5:
            assert lease == FREE_LEASE, "its holder lives again and has it no more"
        elif word in ("live", "fail", "dead"):
            assert lease == VmLease(L(word), 2)
        else:
            assert lease == VmLease(L.UNKNOWN, 2)
        assert judge_lease(None, hosts) == UNKNOWN_LEASE


@pytest.mark.parametrize("lease", [UNKNOWN_LEASE, FREE_LEASE, *(VmLease(s, 3) for s in L)])
def test_a_monitors_value_and_back(lease: VmLease) -> None:
    assert vm_lease_from(lease.as_dict()) == lease


@pytest.mark.parametrize("value", [None, "live", {"owner": True}, {"owner": "2", "state": "gone"}])
def test_what_is_no_lease_is_unknown(value: object) -> None:
    assert vm_lease_from(value) == UNKNOWN_LEASE


def sector(  # noqa: PLR0913
    *,
    magic: int = PAXOS_DISK_MAGIC,
    owner: int = 2,
    generation: int = 5,
    timestamp: int = 77,
    space: bytes = b"domain",
    name: bytes = b"engine",
) -> bytes:
    head = struct.pack("<IIIIQQQQQ", magic, 0x00060003, 0, 512, 2000, 2000, owner, generation, 8)
    checked = head + struct.pack("<48s48sQQ", space, name, timestamp, 0)
    return (checked + struct.pack("<I", crc32c(checked))).ljust(512, b"\0")


def test_a_sector_is_read() -> None:
    assert read_ownership(sector(), "domain", "engine") == Ownership(2, 5, 77)


BROKEN = {
    "empty": b"",
    "zeros": bytes(512),
    "cut off": sector()[:100],
    "a lease on a host id": sector(magic=DELTA_DISK_MAGIC),
    "another lockspace": sector(space=b"another"),
    "another lease": sector(name=b"another"),
    **{f"byte {at}": sector()[:at] + b"\xff" + sector()[at + 1 :] for at in range(0, 172, 7)},
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_sector_that_is_not_that_lease_is_none(broken: str) -> None:
    assert read_ownership(BROKEN[broken], "domain", "engine") is None


def leases(io_timeouts: tuple[int, ...], *, space: bytes = b"he", torn: int = 0) -> bytes:
    """A lockspace's leases on host ids, with these io_timeouts; one may be torn."""
    area = b""
    for host_id, seconds in enumerate(io_timeouts, 1):
        head = struct.pack("<IIIIQQQQQ", DELTA_DISK_MAGIC, 0x00030004, 0x10, 512, 0, 1, 0, 0, 0)
        checked = head + struct.pack("<48s48sQQ", space, b"", 0, 0)
        tail = struct.pack("<IHH", crc32c(checked) ^ (host_id == torn), 0, seconds)
        area += (checked + tail).ljust(512, b"\0")
    return area


CASES = {
    "all the same": (leases((10, 10, 10)), None),
    "the last": (leases((10, 10, 5)), 3),
    "the first of two": (leases((5, 10, 5)), 1),
    "of before sanlock wrote it: its default": (leases((10, 0, 10)), None),
    "torn": (leases((10, 5, 10), torn=2), None),
    "of another lockspace": (leases((5, 5, 5), space=b"another"), None),
    "cut off": (leases((10, 5))[:600], None),
    "nothing": (b"", None),
}


@pytest.mark.parametrize("case", CASES)
def test_an_io_timeout_that_is_not_ours_is_found(case: str) -> None:
    area, host_id = CASES[case]
    found = with_another_io_timeout(area, "he", 10)
    assert (found.host_id if found else None) == host_id
