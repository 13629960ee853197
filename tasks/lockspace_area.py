"""A lockspace's bytes on storage: one sector a host id, judged one by one as sanlock judges them.

The layout is that of `struct leader_record` in sanlock's ondisk.h, the order of the tests that of
`verify_leader` in its delta_lease.c, the codes those of its sanlock_rv.h. sanlock's own commands
are no proof: `sanlock direct read_leader` ends with exit code 0 after some errors.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from ha.core import leases

MEBIBYTE = 1024 * 1024
ALIGN_BYTES = MEBIBYTE  # what hosted engine has always used: sanlock's default
SECTORS = (512, 4096)
# sanlock.h: DEFAULT_MAX_HOSTS, and as many as fit into the alignment.
MAX_HOSTS = {512: 2000, 4096: 250}
MAGIC = 0x12212010
VERSION_MAJOR = 0x00030000
ALIGN_1M = 0x10
# Of 1, 2, 4 and 8 MiB; none was written before sanlock 3.7, which had only the first.
ALIGNMENTS = (0, ALIGN_1M, 0x20, 0x40, 0x80)
LEADER = struct.Struct("<IIIIQQQQQ48s48sQQIHH")
CHECKED_BYTES = 168

Wanted = tuple[str | None, int, tuple[int, ...]]  # name, sector size, alignments


class Verdict(StrEnum):
    """What one sector is."""

    FREE = "free"
    HELD = "held"
    ZEROS = "zeros (-223)"
    MAGIC = "no lease (-223)"
    VERSION = "another version (-224)"
    SECTOR = "another sector size (-225)"
    NAME = "another lockspace (-226)"
    CHECKSUM = "wrong checksum (-229)"
    ALIGNMENT = "another alignment"


SOUND = (Verdict.FREE, Verdict.HELD)


@dataclass(frozen=True, slots=True)
class Slot:
    """One host id's lease as the storage has it; the rest is of use only if it is sound."""

    host_id: int
    verdict: Verdict
    owner_id: int = 0
    generation: int = 0
    timestamp: int = 0
    owner: str = ""
    sector_bytes: int = 0
    lockspace: str = ""


def judge_area(
    data: bytes, name: str, sector_bytes: int, *, any_alignment: bool = False
) -> tuple[Slot, ...]:
    """Return the slots of all host ids in the first MiB of a lockspace.

    A storage domain's own may be of another alignment, as VDSM takes it from the block size.
    """
    alignments = ALIGNMENTS if any_alignment else ALIGNMENTS[:2]
    count = min(MAX_HOSTS[sector_bytes], len(data) // sector_bytes)
    starts = range(0, count * sector_bytes, sector_bytes)
    return tuple(
        _judged(data[start : start + 512], number, (name, sector_bytes, alignments))
        for number, start in enumerate(starts, start=1)
    )


def sector_of(data: bytes) -> int | None:
    """Return the sector size that the first slot names, or None if that is no sound lease."""
    sector = _unpacked(data[: max(SECTORS)])[3] if len(data) >= LEADER.size else 0
    slot = _judged(data[:512], 1, (None, sector, ALIGNMENTS)) if sector in SECTORS else None
    return sector if slot and slot.verdict in SOUND else None


def faults(slots: Sequence[Slot]) -> dict[str, list[int]]:
    """Return the host ids of the slots that are not sound, by what they are."""
    found: dict[str, list[int]] = {}
    for slot in slots:
        if slot.verdict not in SOUND:
            found.setdefault(slot.verdict.value, []).append(slot.host_id)
    return found


def held(slots: Sequence[Slot]) -> dict[int, Slot]:
    """Return the slots that a host holds, or held when it lost its power, by host id."""
    return {slot.host_id: slot for slot in slots if slot.verdict is Verdict.HELD}


def ranges(numbers: Sequence[int]) -> str:
    """Return numbers in few words, such as `1-3, 7`."""
    return ", ".join(_ranges(sorted(numbers)))


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    start = previous = None
    for number in [*numbers, None]:
        if previous is not None and number == previous + 1:
            previous = number
            continue
        if start is not None:
            yield f"{start}" if start == previous else f"{start}-{previous}"
        start = previous = number


def _judged(sector: bytes, host_id: int, wanted: Wanted) -> Slot:
    name, sector_bytes, alignments = wanted
    fields = _unpacked(sector)
    magic, version, flags, size = fields[:4]
    owner_id, generation, timestamp = fields[6], fields[7], fields[11]
    space = _text(fields[9])
    verdict = Verdict.HELD if timestamp else Verdict.FREE
    if magic != MAGIC:
        verdict = Verdict.MAGIC if any(sector) else Verdict.ZEROS
    elif version & 0xFFFF0000 != VERSION_MAJOR:
        verdict = Verdict.VERSION
    elif size != sector_bytes:
        verdict = Verdict.SECTOR
    elif name is not None and space != name:
        verdict = Verdict.NAME
    elif crc32c(sector[:CHECKED_BYTES]) != fields[13]:
        verdict = Verdict.CHECKSUM
    elif flags & 0xF0 not in alignments:
        verdict = Verdict.ALIGNMENT
    if verdict not in SOUND:
        return Slot(host_id, verdict)
    return Slot(
        host_id=host_id,
        verdict=verdict,
        owner_id=owner_id,
        generation=generation,
        timestamp=timestamp,
        owner=_text(fields[10]),
        sector_bytes=size,
        lockspace=space,
    )


def _unpacked(sector: bytes) -> tuple[int, ...]:
    return LEADER.unpack_from(sector)


def _text(field: object) -> str:
    raw = field if isinstance(field, bytes) else b""
    return "".join(c if c.isprintable() else "?" for c in raw.rstrip(b"\0").decode("latin-1"))


@lru_cache(maxsize=4096)
def crc32c(data: bytes) -> int:
    """Return sanlock's checksum; most of a lockspace's slots are the same."""
    return leases.crc32c(data)
