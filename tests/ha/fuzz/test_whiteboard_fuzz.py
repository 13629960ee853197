"""The whiteboard under hostile bytes: one block is judged, and nothing else is touched by it."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ha.core.record import (
    BLOCK_BYTES,
    MAX_HOST_ID,
    Block,
    GlobalRecord,
    Record,
    Verdict,
    encode_global,
    encode_record,
    judge_block,
    judge_whiteboard,
)
from tests.ha.fuzz.strategies import TOKENS, block_of, fuzz, texts

BAD = (Verdict.TOO_NEW, Verdict.MALFORMED, Verdict.UNREADABLE)
# Lines of every version: 3.3 with 7 tokens, 3.4 and 3.5 with 8, 3.6 with 12, and what lies between.
VERSIONS = {count: TOKENS[:count] for count in (7, 8, 9, 10, 12)}
FUTURE = {13: (*TOKENS, "new"), 20: (*TOKENS, *"abcdefgh")}
NUMBERS = (1, 2, 4, 7, 8, 10, 11)


def check(judged: Block) -> Block:
    """What every judgement must be, whatever the bytes are."""
    assert judged.bad is (judged.verdict in BAD)
    assert bool(judged.message) is judged.bad
    assert (judged.record is not None) is (judged.verdict is Verdict.OK)
    if isinstance(judged.record, Record):
        for number in (judged.record.timestamp, judged.record.score):
            assert abs(number) < 2**63, "more than any writer's integer holds"
    return judged


@fuzz
@given(host_id=st.integers(-1, MAX_HOST_ID + 1), data=st.binary(max_size=BLOCK_BYTES + 10))
@example(host_id=1, data=b"1|1|" + b"9" * 400 + b"|1|1|x|h".ljust(100, b"\0") + bytes(512))
def test_random_bytes(host_id: int, data: bytes) -> None:
    check(judge_block(host_id, data))


@fuzz
@given(data=st.binary(max_size=3 * BLOCK_BYTES), size=st.integers(0, 3 * BLOCK_BYTES))
def test_a_whiteboard_of_any_size(data: bytes, size: int) -> None:
    blocks = judge_whiteboard(data[:size])
    assert [block.host_id for block in blocks] == sorted({block.host_id for block in blocks})
    for block in blocks:
        check(block)


@pytest.mark.parametrize("count", [*VERSIONS, *FUTURE])
def test_every_truncation(count: int) -> None:
    """A block that ends too soon, and one that was written in part only over an empty one."""
    whole = block_of({**VERSIONS, **FUTURE}[count])
    told = check(judge_block(1, whole)).record
    assert isinstance(told, Record)
    for size in range(BLOCK_BYTES + 1):
        short = check(judge_block(1, whole[:size]))
        assert short.verdict in (Verdict.EMPTY if size == 0 else Verdict.MALFORMED, Verdict.OK)
        assert (short.verdict is Verdict.OK) is (size >= 512), size
        torn = check(judge_block(1, whole[:size].ljust(BLOCK_BYTES, b"\0"))).record
        if isinstance(torn, Record):
            assert torn.timestamp == told.timestamp
            assert (torn.score, torn.engine_status) == (told.score, told.engine_status)


@pytest.mark.parametrize("on", [True, False])
def test_every_truncation_of_the_global_block(on: bool) -> None:
    whole = encode_global(on)
    for size in range(BLOCK_BYTES + 1):
        record = check(judge_block(0, whole[:size])).record
        if isinstance(record, GlobalRecord):
            assert record.maintenance is (on if size >= len("maintenance=1") else None)


@pytest.mark.parametrize("count", VERSIONS)
def test_every_version_is_read(count: int) -> None:
    record = judge_block(1, block_of(VERSIONS[count])).record
    assert isinstance(record, Record)
    assert (record.timestamp, record.score, record.hostname) == (4262, 3400, "h1.example.com")
    assert (record.state, record.vm, record.health) == ("EngineUp", "up", "good")
    assert record.maintenance is (False if count > 7 else None)
    assert record.stopped is (True if count > 8 else None)
    assert (record.crc32 is not None) is (count > 9)
    assert (record.conf_on_shared_storage, record.local_conf_timestamp) == (
        (True, 4260) if count > 11 else (None, None)
    )


@fuzz
@given(more=st.lists(st.text("abc{}=: é", max_size=8), min_size=1, max_size=9))
def test_tokens_of_a_later_version_are_passed_over(more: list[str]) -> None:
    assert judge_block(1, block_of((*TOKENS, *more))).verdict is Verdict.OK
    spoilt = block_of((*TOKENS, *more)).replace(b"|4260|", b"|4261|")
    assert judge_block(1, spoilt).verdict is Verdict.MALFORMED, "the checksum is over all of them"


@fuzz
@given(at=st.integers(0, len(TOKENS) - 1), text=texts.filter(lambda text: "|" not in text))
@example(at=2, text="1_0")
@example(at=2, text="٣")
@example(at=4, text="9" * 400)
@example(at=0, text="²")
@example(at=7, text="maybe")
def test_a_hostile_token_with_a_right_checksum(at: int, text: str) -> None:
    tokens = (*TOKENS[:at], text, *TOKENS[at + 1 :])
    try:
        raw = block_of(tokens)[:BLOCK_BYTES]
    except UnicodeEncodeError:
        raw = "|".join(tokens).encode(errors="surrogatepass")[:512].ljust(BLOCK_BYTES, b"\0")
    judged = check(judge_block(1, raw))
    if at in NUMBERS and judged.verdict is Verdict.OK:
        assert re.fullmatch("-?[0-9]{1,18}", text), "no writer ever wrote such a number"


@fuzz
@given(at=st.integers(0, BLOCK_BYTES - 1), byte=st.integers(0, 255))
def test_one_wrong_byte_never_makes_another_record(at: int, byte: int) -> None:
    """The checksum covers the line; what people read is beside it."""
    whole = block_of(TOKENS)
    spoilt = bytearray(whole)
    spoilt[at] = byte
    record = check(judge_block(1, bytes(spoilt))).record
    if isinstance(record, Record) and record.crc32 is not None:
        told = judge_block(1, whole).record
        assert isinstance(told, Record)
        assert (record.timestamp, record.score, record.stopped, record.hostname) == (
            (told.timestamp, told.score, told.stopped, told.hostname)
        )


@fuzz
@given(hostname=texts, status=texts, extra=texts, numbers=st.tuples(*[st.integers()] * 2))
def test_what_is_written_is_read_the_same_or_not_written(
    hostname: str, status: str, extra: str, numbers: tuple[int, int]
) -> None:
    record = Record(
        host_id=1, timestamp=numbers[0], score=numbers[1], engine_status=status,
        hostname=hostname, maintenance=True, stopped=False, conf_on_shared_storage=True,
        local_conf_timestamp=1, extra=extra,
    )  # fmt: skip
    try:
        block = encode_record(record)
    except ValueError:
        return
    found = judge_block(1, block).record
    assert isinstance(found, Record)
    assert (found.hostname, found.engine_status, found.extra) == (hostname, status, extra)
    assert (found.timestamp, found.score) == numbers


@pytest.mark.parametrize("host_id", [-1, 0, MAX_HOST_ID + 1, 2**64])
def test_a_host_id_out_of_range_is_not_written(host_id: int) -> None:
    record = Record(host_id, 1, 1, "{}", "h")
    with pytest.raises(ValueError, match=f"host id {host_id} is outside 1..{MAX_HOST_ID}"):
        encode_record(record)
