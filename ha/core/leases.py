"""sanlock's leases, as they are on the storage: those on host ids, and the engine VM's.

A lockspace has one sector a host id, from 1; a lease on a resource (here: the engine VM) has its
owner in its first sector. Both are sanlock's `struct leader_record` (src/leader.h), little-endian.
A free lease has timestamp 0; one on a host id is written anew at every renewal.
"""

import struct
from dataclasses import dataclass

DELTA_DISK_MAGIC = 0x12212010
PAXOS_DISK_MAGIC = 0x06152010
ALIGN_1M_FLAG = 0x10
# How many host ids an area of 1 MiB has, by the size of a sector (sanlock's size_to_max_hosts).
HOST_IDS = {512: 2000, 4096: 250}
DEFAULT_IO_TIMEOUT_SECONDS = 10
# sanlock's WATCHDOG_FIRE_TIMEOUT, which a dead host is given to reset itself.
_WATCHDOG_SECONDS = 60
_LEADER = struct.Struct("<IIIIQQQQQ48s48sQQIHH")
_CHECKED_BYTES = 168
_CHECKSUM = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Lease:
    """One host id's lease; `timestamp` 0 means that it is free."""

    host_id: int
    space_name: str
    owner_name: str
    timestamp: int
    io_timeout_seconds: int
    sector_bytes: int
    align_1m: bool


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """What sanlock says about one host id of a lockspace; state as in `sanlock host_status`."""

    host_id: int
    state: str
    generation: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who took a resource's lease last; with `timestamp` 0 it was given back.

    `generation` counts the lives of the host id: one that joins again has the next.
    """

    host_id: int
    generation: int
    timestamp: int


def read_ownership(sector: bytes, space_name: str, name: str) -> Ownership | None:
    """Return who holds the lease of this name; None when the sector holds no such lease."""
    if len(sector) < _LEADER.size:
        return None
    fields = _LEADER.unpack_from(sector)
    sound = fields[0] == PAXOS_DISK_MAGIC and fields[13] == crc32c(sector[:_CHECKED_BYTES])
    if not sound or (_text(fields[9]), _text(fields[10])) != (space_name, name):
        return None
    return Ownership(host_id=fields[6], generation=fields[7], timestamp=fields[11])


def crc32c(data: bytes) -> int:
    """Return sanlock's checksum: CRC-32C from ~1 on, not inverted at the end."""
    value = 0xFFFFFFFE
    for byte in data:
        value = _CRC32C[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value


def read_leases(area: bytes, sector_bytes: int) -> tuple[Lease, ...]:
    """Return the leases of an area, ascending; a sector that holds none is passed over."""
    found = []
    for host_id in range(1, min(HOST_IDS[sector_bytes], len(area) // sector_bytes) + 1):
        lease = _lease(host_id, area, (host_id - 1) * sector_bytes)
        if lease is not None:
            found.append(lease)
    return tuple(found)


def with_another_io_timeout(area: bytes, space_name: str, io_timeout_seconds: int) -> Lease | None:
    """Return the first lease of this lockspace that has another io_timeout, None when none has.

    What sanlock would refuse (torn, or another lockspace's) tells no io_timeout.
    """
    sector_bytes = sector_bytes_of(area)
    for lease in read_leases(area, sector_bytes):
        if lease.io_timeout_seconds != io_timeout_seconds and lease.space_name == space_name:
            begin = (lease.host_id - 1) * sector_bytes
            checked = area[begin : begin + _CHECKED_BYTES]
            (checksum,) = _CHECKSUM.unpack_from(area, begin + _CHECKED_BYTES)
            if crc32c(checked) == checksum:
                return lease
    return None


def sector_bytes_of(*areas: bytes) -> int:
    """Return the sector size that the first lease of an area tells; 512 when no area has one."""
    for area in areas:
        first = _lease(1, area, 0)
        if first is not None and first.sector_bytes in HOST_IDS:
            return first.sector_bytes
    return min(HOST_IDS)


def renewal_seconds(io_timeout_seconds: int) -> int:
    """How often a host renews its lease."""
    return 2 * io_timeout_seconds


def lost_seconds(io_timeout_seconds: int) -> int:
    """After how long without a renewal a host has lost its lease, and sanlock kills its VM."""
    return 8 * io_timeout_seconds


def dead_seconds(io_timeout_seconds: int) -> int:
    """After how long without a renewal sanlock takes a host for dead."""
    return lost_seconds(io_timeout_seconds) + _WATCHDOG_SECONDS


def longest_acquire_seconds(io_timeout_seconds: int) -> int:
    """How long taking the lease of a host that has just died may last: seven more accesses."""
    return dead_seconds(io_timeout_seconds) + 7 * io_timeout_seconds


def longest_join_seconds(io_timeout_seconds: int) -> int:
    """How long taking a host id may last whose last holder has just died."""
    return dead_seconds(io_timeout_seconds) + 6 * io_timeout_seconds


def _lease(host_id: int, area: bytes, offset_bytes: int) -> Lease | None:
    if len(area) < offset_bytes + _LEADER.size:
        return None
    fields = _LEADER.unpack_from(area, offset_bytes)
    magic, _, flags, sector_bytes = fields[:4]
    if magic != DELTA_DISK_MAGIC:
        return None
    return Lease(
        host_id,
        _text(fields[9]),
        _text(fields[10]),
        timestamp=fields[11],
        io_timeout_seconds=fields[15] or DEFAULT_IO_TIMEOUT_SECONDS,
        sector_bytes=sector_bytes,
        align_1m=bool(flags & ALIGN_1M_FLAG),
    )


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("ascii", "replace")


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        value = number
        for _ in range(8):
            value = (value >> 1) ^ 0x82F63B78 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_CRC32C = _crc32c_table()
