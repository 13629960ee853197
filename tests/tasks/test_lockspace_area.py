"""The bytes of a lockspace: read as sanlock reads them, whatever they are."""

import struct

import pytest

from tasks.lockspace_area import (
    ALIGN_BYTES,
    LEADER,
    MAX_HOSTS,
    crc32c,
    faults,
    held,
    judge_area,
    ranges,
    sector_of,
)
from tasks.lockspace_sanlock import _errors
from tests.fake_lockspace import NAME, area, garbage, leader, torn, wrong_name, zeros

# The first slot of a lockspace that host h1.lab held, as sanlock 3.8.5 wrote it.
HELD = LEADER.pack(
    *(0x12212010, 0x00030004, 0x10, 512, 0, 1, 1, 1, 0, b"hosted-engine", b"h1.lab"),
    *(123437, 0, 0x8A040FB8, 0, 10),
).ljust(512, b"\0")
LOG = """\
2026-11-22 23:55:27 127030 [46]: s28 lockspace hosted-engine:1:/rhev/data-center/mnt/x:0
2026-11-22 23:55:27 127030 [864]: s28 failed to read device to find sector size error -223 /rhev
2026-11-22 23:55:27 127031 [46]: s28 add_lockspace fail result -223
2026-11-22 23:55:28 127031 [46]: s29 lockspace 5d0b1a2c-sd:1:/rhev/x:0
2026-11-22 23:55:28 127031 [46]: s29 add_lockspace fail result -226
2026-11-22 23:55:28 127031 [883]: leader1 delta_acquire_begin error -229 lockspace hosted-engine \
host_id 1
2026-11-22 23:55:29 127031 [46]: s77 add_lockspace fail result -202
"""


def judged(first: bytes, **more: bool) -> dict[str, list[int]]:
    data = (first + area(NAME)[len(first) :])[:ALIGN_BYTES]
    return faults(judge_area(data, NAME, 512, **more))


def test_what_sanlock_itself_wrote_is_sound() -> None:
    [slot] = held(judge_area(HELD + area(NAME)[512:], NAME, 512)).values()
    assert (slot.owner, slot.owner_id, slot.generation) == ("h1.lab", 1, 1)
    assert slot.timestamp > 0
    assert sector_of(HELD) == 512


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_fresh_area_is_sound_and_free(sector: int) -> None:
    slots = judge_area(area(NAME, sector), NAME, sector)
    assert len(slots) == MAX_HOSTS[sector]
    assert (faults(slots), held(slots)) == ({}, {})
    assert sector_of(area(NAME, sector)) == sector


def changed(offset: int, form: str, value: int) -> bytes:
    """Return a free slot with one field changed, and its checksum right again."""
    fresh = bytearray(leader(NAME))
    struct.pack_into(form, fresh, offset, value)
    struct.pack_into("<I", fresh, 168, crc32c(bytes(fresh[:168])))
    return bytes(fresh)


@pytest.mark.parametrize(
    ("slot", "what"),
    [
        (bytes(512), "zeros (-223)"),
        (b"\xff" * 512, "no lease (-223)"),
        (changed(4, "<I", 0x00040001), "another version (-224)"),
        (changed(12, "<I", 4096), "another sector size (-225)"),
        (leader("hosted-engine2"), "another lockspace (-226)"),
        (leader(NAME)[:150] + b"\x01" + leader(NAME)[151:], "wrong checksum (-229)"),
        (changed(8, "<I", 0x20), "another alignment"),
    ],
)
def test_each_fault_is_named(slot: bytes, what: str) -> None:
    assert judged(slot) == {what: [1]}


def test_a_domains_own_lockspace_may_be_of_another_alignment() -> None:
    assert judged(changed(8, "<I", 0x80), any_alignment=True) == {}


def test_every_single_bit_that_is_flipped_is_seen() -> None:
    fresh = leader(NAME)
    for bit in range(172 * 8):
        flipped = bytearray(fresh)
        flipped[bit // 8] ^= 1 << bit % 8
        assert faults(judge_area(bytes(flipped), NAME, 512)), bit


def test_whole_areas() -> None:
    told = {
        each.__name__: {what: ranges(ids) for what, ids in judged(each()).items()}
        for each in (zeros, garbage, wrong_name, torn)
    }
    assert told == {
        "zeros": {"zeros (-223)": "1-2000"},
        "garbage": {"no lease (-223)": "1-2000"},
        "wrong_name": {"another lockspace (-226)": "1-2000"},
        "torn": {"wrong checksum (-229)": "2"},
    }
    for damage in (zeros, garbage):
        assert sector_of(damage()) is None


@pytest.mark.parametrize(
    ("numbers", "said"), [([], ""), ([7], "7"), ([3, 1, 2, 9, 5, 6], "1-3, 5-6, 9")]
)
def test_ranges(numbers: list[int], said: str) -> None:
    assert ranges(numbers) == said


def test_errors_of_the_log_go_to_their_lockspace() -> None:
    assert list(_errors(LOG.splitlines())) == [
        "hosted-engine -223",
        "hosted-engine -223",
        "5d0b1a2c-sd -226",
        "hosted-engine -229",
        "? -202",
    ]
