"""What the engine stand-in wrote to its disk: proof of where it ran, and whether twice at once."""

from dataclasses import dataclass
from pathlib import Path

from tests.lab.guest import LANE_BYTES, LANES, LANES_OFFSET_BYTES, SECTOR_BYTES

FIELDS = 5
# Each boot sets its clock from a real-time clock that counts whole seconds.
CLOCK_ERROR_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One beat: a boot of the engine VM was alive on a host."""

    boot_id: str
    host: str
    seq: int
    at_wall_seconds: float


@dataclass(frozen=True, slots=True)
class Span:
    """The life of one boot, from its first beat to its last."""

    boot_id: str
    host: str
    first_wall_seconds: float
    last_wall_seconds: float


def read_heartbeats(disk: Path) -> list[Heartbeat]:
    """The first beat of every boot and its last fifteen, in order of time."""
    beats = []
    with disk.open("rb") as raw:
        raw.seek(LANES_OFFSET_BYTES)
        for _ in range(LANES):
            lane = raw.read(LANE_BYTES)
            if lane[:1] not in (b"", b"\0"):
                beats += _beats_of(lane)
    return sorted(beats, key=lambda beat: (beat.at_wall_seconds, beat.boot_id, beat.seq))


def spans(beats: list[Heartbeat]) -> list[Span]:
    """One span for each boot, the earliest first."""
    by_boot: dict[str, list[Heartbeat]] = {}
    for beat in beats:
        by_boot.setdefault(beat.boot_id, []).append(beat)
    found = [
        Span(
            boot_id,
            own[0].host,
            min(beat.at_wall_seconds for beat in own),
            max(beat.at_wall_seconds for beat in own),
        )
        for boot_id, own in by_boot.items()
    ]
    return sorted(found, key=lambda span: span.first_wall_seconds)


def overlaps(beats: list[Heartbeat]) -> list[tuple[Span, Span]]:
    """Pairs of boots that were alive at the same time; there must never be one."""
    lives = spans(beats)
    return [
        (one, other)
        for index, one in enumerate(lives)
        for other in lives[index + 1 :]
        if other.first_wall_seconds + CLOCK_ERROR_SECONDS < one.last_wall_seconds
    ]


def _beats_of(lane: bytes) -> list[Heartbeat]:
    sectors = [lane[start : start + SECTOR_BYTES] for start in range(0, LANE_BYTES, SECTOR_BYTES)]
    lines = [sector.decode("ascii", "replace").split() for sector in sectors]
    return [
        Heartbeat(line[0], line[1], int(line[2]), int(line[3]) + float(line[4]))
        for line in lines
        if len(line) == FIELDS
    ]
