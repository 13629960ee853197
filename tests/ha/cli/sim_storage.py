"""Storage for the command's tests: sanlock and the whiteboard, in memory."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ha.core.leases import HOST_IDS, LeaseHolder, read_leases
from ha.env.ports import LockspaceFailed

MIB = 1024 * 1024
LEADER = struct.Struct("<IIIIQQQQQ48s48sQQIHH")


def lease_sector(
    name: str, host_id: int = 0, timestamp: int = 0, *, sector_bytes: int = 512, flags: int = 0x10
) -> bytes:
    """A lease on a host id as sanlock 3.8.5 writes it, but for the checksum."""
    owner = f"lab-h{host_id}" if timestamp else ""
    head = 0x12212010, 0x30004, flags, sector_bytes, 0, 1, host_id, 1, 0
    names = name.encode(), owner.encode()
    return LEADER.pack(*head, *names, timestamp, 0, 0, 0, 10).ljust(sector_bytes, b"\0")


def area_of(name: str, *, sector_bytes: int = 512, **leases: bytes) -> bytes:
    """A lockspace of 1 MiB; `leases` replaces sectors, as `h2=...`."""
    free = lease_sector(name, sector_bytes=sector_bytes)
    sectors = [free] * HOST_IDS[sector_bytes]
    for host, sector in leases.items():
        sectors[int(host[1:]) - 1] = sector
    return b"".join(sectors).ljust(MIB, b"\0")


def put_area(path: Path, area: bytes) -> None:
    with path.open("r+b") as file:
        file.write(area)


@dataclass
class SimSanlock:
    """One sanlock for all hosts of a test; `refuses` is raised by a join.

    `interrupts`: whoever joins is interrupted, and sanlock goes on.
    """

    initialised: list[tuple[str, ...]] = field(default_factory=list)
    joined: dict[str, int] = field(default_factory=dict)
    left: list[tuple[str, int]] = field(default_factory=list)
    refuses: Exception | None = None
    trouble: Exception | None = None
    write_fails: Exception | None = None
    interrupts: bool = False
    loses_writes: bool = False
    sector_bytes: int = 0
    after_write: Callable[[], None] = lambda: None

    def lockspace(self, name: str, path: Path) -> "SimLockspace":
        assert path.exists(), path
        return SimLockspace(self, name)

    def initialise_lockspace(self, name: str, path: Path, *, sector_bytes: int = 512) -> None:
        assert path.stat().st_size >= 1024 * 1024
        if self.write_fails is not None:
            raise self.write_fails
        self.initialised.append(("lockspace", name, path.name))
        self.sector_bytes = sector_bytes
        if not self.loses_writes:
            put_area(path, area_of(name, sector_bytes=sector_bytes))
        self.after_write()

    def lockspace_name(self, path: Path, *, sector_bytes: int) -> str:
        leases = read_leases(path.read_bytes()[: 1024 * 1024], sector_bytes)
        if not leases:
            raise LockspaceFailed(f"lockspace at {path}: no lease", -223)
        return leases[0].space_name

    def joined_as(self, name: str) -> Sequence[int]:
        if self.trouble is not None:
            raise self.trouble
        return [self.joined[name]] if name in self.joined else []

    def initialise_lease(self, lockspace: str, name: str, path: Path, *, offset_bytes: int) -> None:
        assert path.stat().st_size >= offset_bytes + 1024 * 1024
        self.initialised.append(("lease", lockspace, name, path.name, str(offset_bytes)))


@dataclass
class SimLockspace:
    sanlock: SimSanlock
    name: str

    def join(self, host_id: int) -> None:
        if self.sanlock.refuses is not None:
            raise self.sanlock.refuses
        self.sanlock.joined[self.name] = host_id
        if self.sanlock.interrupts:
            raise KeyboardInterrupt

    def leave(self, host_id: int) -> None:
        if self.sanlock.joined.get(self.name) != host_id:
            return
        self.sanlock.joined.pop(self.name)
        self.sanlock.left.append((self.name, host_id))

    def held(self, host_id: int) -> bool | None:
        return self.sanlock.joined.get(self.name) == host_id

    def holders(self) -> Sequence[LeaseHolder]:
        return ()


@dataclass
class SimWhiteboard:
    """A whiteboard in memory, shared by all paths of a test."""

    blocks: dict[int, bytes] = field(default_factory=dict)
    loses_writes: bool = False

    def at(self, path: Path) -> "SimWhiteboard":
        del path
        return self

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        wanted: Iterable[int] = self.blocks if host_ids is None else host_ids
        return {h: self.blocks[h] for h in wanted if any(self.blocks.get(h, b""))}

    def write_block(self, host_id: int, block: bytes) -> None:
        if not self.loses_writes:
            self.blocks[host_id] = block
