"""The leases on host ids in a sanlock lockspace, as they are on the storage.

One sector a host id, from 1; sanlock's `struct leader_record` (src/leader.h), little-endian. A free
lease has timestamp 0; one in use is written anew at every renewal.
"""

import struct
from dataclasses import dataclass

DELTA_DISK_MAGIC = 0x12212010
ALIGN_1M_FLAG = 0x10
# How many host ids an area of 1 MiB has, by the size of a sector (sanlock's size_to_max_hosts).
HOST_IDS = {512: 2000, 4096: 250}
DEFAULT_IO_TIMEOUT_SECONDS = 10
# sanlock's WATCHDOG_FIRE_TIMEOUT, which a dead host is given to reset itself.
_WATCHDOG_SECONDS = 60
_LEADER = struct.Struct("<IIIIQQQQQ48s48sQQIHH")


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


def read_leases(area: bytes, sector_bytes: int) -> tuple[Lease, ...]:
    """Return the leases of an area, ascending; a sector that holds none is passed over."""
    found = []
    for host_id in range(1, min(HOST_IDS[sector_bytes], len(area) // sector_bytes) + 1):
        lease = _lease(host_id, area, (host_id - 1) * sector_bytes)
        if lease is not None:
            found.append(lease)
    return tuple(found)


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


def dead_seconds(io_timeout_seconds: int) -> int:
    """After how long without a renewal sanlock takes a host for dead."""
    return 8 * io_timeout_seconds + _WATCHDOG_SECONDS


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
