"""A lockspace in a file, in sanlock's format, which others may write, too.

The layout is that of `struct leader_record` in sanlock's ondisk.h: one sector a host id, from 1.
"""

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from random import Random

from ha.core.leases import ALIGN_1M_FLAG, DELTA_DISK_MAGIC, HOST_IDS, crc32c

SECTOR_BYTES = 512
ALIGN_BYTES = 1024 * 1024
LEADER = struct.Struct("<IIIIQQQQQ48s48sQQIHH")
CHECKED_BYTES = 168
VERSION = 0x00030004
IO_SECONDS = 10
BAD_MAGIC = -223
BAD_SPACE = -226
BAD_CHECKSUM = -229
# Places in the record.
GENERATION, SPACE, OWNER, TIMESTAMP, CHECKSUM = 7, 9, 10, 11, 13


def sector_of(
    space: str, host_id: int = 0, owner: str = "", *, generation: int = 0, timestamp: int = 0
) -> bytes:
    """Return one host id's lease as sanlock writes it, with its usual io_timeout."""
    numbers = (DELTA_DISK_MAGIC, VERSION, ALIGN_1M_FLAG, SECTOR_BYTES, 0, 1, host_id, generation, 0)
    words = (*numbers, space.encode(), owner.encode(), timestamp, 0)
    bare = LEADER.pack(*words, 0, 0, IO_SECONDS)[:CHECKED_BYTES]
    return LEADER.pack(*words, crc32c(bare), 0, IO_SECONDS).ljust(SECTOR_BYTES, b"\0")


def area_of(space: str) -> bytes:
    """Return a lockspace in which nobody is."""
    return (sector_of(space) * HOST_IDS[SECTOR_BYTES]).ljust(ALIGN_BYTES, b"\0")


class FileSlot:
    """The lease on one host id, in the file."""

    def __init__(self, area: "LeaseFile", host_id: int) -> None:
        self._area = area
        self._host_id = host_id

    @property
    def owner(self) -> str:
        """Whose it is."""
        return bytes(self._fields()[OWNER]).rstrip(b"\0").decode("ascii", "replace")

    @owner.setter
    def owner(self, owner: str) -> None:
        self._write(owner, self.generation, self.timestamp)

    @property
    def generation(self) -> int:
        """How often it was taken."""
        return int(self._fields()[GENERATION])

    @generation.setter
    def generation(self, generation: int) -> None:
        self._write(self.owner, generation, self.timestamp)

    @property
    def timestamp(self) -> int:
        """When it was renewed by its owner's clock; 0: it is free."""
        return int(self._fields()[TIMESTAMP])

    @timestamp.setter
    def timestamp(self, timestamp: int) -> None:
        self._write(self.owner, self.generation, timestamp)

    def _fields(self) -> tuple[bytes, ...]:
        return LEADER.unpack_from(self._area.sector(self._host_id))

    def _write(self, owner: str, generation: int, timestamp: int) -> None:
        sector = sector_of(
            self._area.name, self._host_id, owner, generation=generation, timestamp=timestamp
        )
        self._area.write(self._host_id, sector)


class LeaseFile:
    """A lockspace at the beginning of a file."""

    def __init__(self, name: str, path: Path, host_ids: int) -> None:
        self.name = name
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._host_ids = range(1, host_ids + 1)

    @property
    def slots(self) -> Mapping[int, FileSlot]:
        """The leases of the hosts that there are, by host id."""
        return {host_id: self.slot(host_id) for host_id in self._host_ids}

    @property
    def readable(self) -> bool:
        """Whether sanlock can read all of them."""
        return all(self.fault(host_id) == 0 for host_id in self._host_ids)

    @readable.setter
    def readable(self, readable: bool) -> None:
        if readable:
            self.initialise()
        else:
            os.pwrite(self._file, Random(self.name).randbytes(ALIGN_BYTES), 0)

    def slot(self, host_id: int) -> FileSlot:
        """Return the lease on a host id."""
        return FileSlot(self, host_id)

    def fault(self, host_id: int, name: str = "") -> int:
        """Return sanlock's code for what is wrong with a host id's sector; 0: nothing.

        Another name than the lockspace's may be expected there.
        """
        sector = self.sector(host_id)
        fields = LEADER.unpack_from(sector)
        if fields[0] != DELTA_DISK_MAGIC:
            return BAD_MAGIC
        if fields[SPACE].rstrip(b"\0") != (name or self.name).encode():
            return BAD_SPACE
        return 0 if fields[CHECKSUM] == crc32c(sector[:CHECKED_BYTES]) else BAD_CHECKSUM

    def initialise(self) -> None:
        """Write an empty lockspace."""
        os.pwrite(self._file, area_of(self.name), 0)

    def sector(self, host_id: int) -> bytes:
        """Read a host id's sector."""
        if host_id < 1:
            return bytes(SECTOR_BYTES)  # nobody's
        found = os.pread(self._file, SECTOR_BYTES, (host_id - 1) * SECTOR_BYTES)
        return found.ljust(SECTOR_BYTES, b"\0")

    def write(self, host_id: int, sector: bytes) -> None:
        """Write it."""
        os.pwrite(self._file, sector, (host_id - 1) * SECTOR_BYTES)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
