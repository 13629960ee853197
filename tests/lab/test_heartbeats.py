"""Heartbeats: read from a disk, and two lives at once are seen."""

from pathlib import Path

from tests.lab.guest import DISK_BYTES, LANE_BYTES, LANES_OFFSET_BYTES, SECTOR_BYTES
from tests.lab.heartbeats import Heartbeat, overlaps, read_heartbeats


def life(boot_id: str, host: str, first: float, last: float) -> list[Heartbeat]:
    return [Heartbeat(boot_id, host, seq, at) for seq, at in enumerate((first, last))]


def test_lives_one_after_the_other_do_not_overlap() -> None:
    assert overlaps(life("a", "h1", 0, 10) + life("b", "h2", 14, 20)) == []


def test_lives_at_once_overlap() -> None:
    (pair,) = overlaps(life("a", "h1", 0, 20) + life("b", "h2", 14, 30))
    assert [span.host for span in pair] == ["h1", "h2"]


def test_a_frozen_life_that_goes_on_overlaps_also_with_a_later_short_one() -> None:
    assert len(overlaps(life("a", "h1", 0, 40) + life("b", "h2", 14, 20))) == 1


def test_a_second_of_clock_error_is_no_overlap() -> None:
    assert overlaps(life("a", "h1", 0, 10.9) + life("b", "h2", 10, 20)) == []


def test_beats_are_read_from_the_lanes_of_a_disk(tmp_path: Path) -> None:
    disk = tmp_path / "engine.raw"
    with disk.open("wb") as raw:
        raw.truncate(DISK_BYTES)
        for lane, text in ((3, "boot-a h1.lab 0 1000 2.50"), (2047, "boot-b h2.lab 0 1100 3.25")):
            raw.seek(LANES_OFFSET_BYTES + lane * LANE_BYTES)
            raw.write(f"{text:<{SECTOR_BYTES - 1}}\n".encode())
    assert read_heartbeats(disk) == [
        Heartbeat("boot-a", "h1.lab", 0, 1002.5),
        Heartbeat("boot-b", "h2.lab", 0, 1103.25),
    ]
