from dataclasses import replace

import pytest

from ha.core.record import (
    BLOCK_BYTES,
    GLOBAL_BLOCK,
    MAX_HOST_ID,
    RANGE_BYTES,
    Block,
    GlobalRecord,
    Record,
    Verdict,
    encode_global,
    encode_record,
    judge_block,
    judge_whiteboard,
)

UP = '{"vm": "up", "health": "good", "detail": "Up"}'
# Lines checked with upstream's own parser.
LINES = {
    1: f"1|1|4262|1|3400|{UP}|h1.example.com|0|0|2539c561|1|4260",
    2: '1|1|99|2|0|{"vm": "down", "health": "bad", "detail": "unknown", "reason": "vm not running'
    ' on this host"}|h2.example.com|1|0|c175c5c0|1|90',
    52: '1|1|123456|52|0|{"vm": "unknown", "health": "unknown", "detail": "unknown", "reason":'
    ' "failed to getVmStats"}|hé.example|0|1|d98dced1|0|0',
}
FULL = Record(
    host_id=1,
    timestamp=4262,
    score=3400,
    engine_status=UP,
    hostname="h1.example.com",
    maintenance=False,
    stopped=False,
    crc32="2539c561",
    conf_on_shared_storage=True,
    local_conf_timestamp=4260,
)


def block(text: str | bytes, extra: str = "") -> bytes:
    head = text if isinstance(text, bytes) else text.encode()
    return (head.ljust(512, b"\0") + extra.encode()).ljust(BLOCK_BYTES, b"\0")


def judged(text: str | bytes, host_id: int = 52) -> Block:
    return judge_block(host_id, block(text))


def record_of(found: Block) -> Record:
    assert isinstance(found.record, Record), found
    return found.record


@pytest.mark.parametrize("host_id", LINES)
def test_upstreams_lines_are_read_and_written_byte_for_byte(host_id: int) -> None:
    raw = block(LINES[host_id])
    found = record_of(judge_block(host_id, raw))
    assert encode_record(found) == raw
    assert found.host_id == host_id


def test_every_field() -> None:
    assert record_of(judge_block(1, block(LINES[1]))) == FULL


def test_the_shortest_legal_line() -> None:
    found = record_of(judged("1|1|1|1|0|x|h"))
    assert found == Record(52, 1, 0, "x", "h")
    assert (found.vm, found.health, found.state) == (None, None, None)


@pytest.mark.parametrize(
    ("tokens", "fields"),
    [
        (8, ("maintenance",)),
        (9, ("maintenance", "stopped")),
        (11, ("maintenance", "stopped", "crc32")),
        (12, ("maintenance", "stopped", "crc32", "conf_on_shared_storage",
              "local_conf_timestamp")),
    ],
)  # fmt: skip
def test_optional_fields_come_by_the_count_of_tokens(tokens: int, fields: tuple[str, ...]) -> None:
    line = "|".join(["1", "1", "1", "1", "0", "x", "h", "1", "1", "0", "1", "9"][:tokens])
    if tokens > 9:
        message = judged(line).message or ""
        actual = message.rpartition(" ")[2].rstrip(".")
        line = "|".join([*line.split("|")[:9], actual, *line.split("|")[10:]])
    found = record_of(judged(line))
    optional = ("maintenance", "stopped", "crc32", "conf_on_shared_storage", "local_conf_timestamp")
    assert tuple(name for name in optional if getattr(found, name) is not None) == fields


@pytest.mark.parametrize(
    ("line", "verdict", "message"),
    [
        (
            "2|2|1|52|0|x|h",
            Verdict.TOO_NEW,
            "Metadata version 2 from host 52 too new for this agent"
            " (highest compatible version: 1)",
        ),
        (
            "2;another delimiter",
            Verdict.TOO_NEW,
            "Metadata version 2 from host 52 too new for this agent"
            " (highest compatible version: 1)",
        ),
        (
            "x|1",
            Verdict.MALFORMED,
            "Malformed metadata for host 52: non-parsable metadata version x|1",
        ),
        (
            "1|0|1|1|0|x|h",
            Verdict.MALFORMED,
            "Metadata version 0 from host 52 too old for this agent (lowest compatible version: 1)",
        ),
        (
            "1|1|1|1|0|x",
            Verdict.MALFORMED,
            "Malformed metadata for host 52: received 6 of 7 expected tokens",
        ),
        (
            "1|1|1|1|0|x|h|0|0|deadbeef|1|1",
            Verdict.MALFORMED,
            "Malformed metadata for host 52: provided checksum deadbeef does not match"
            " the data 1504328b.",
        ),
        (
            "1|x|1|1|0|x|h",
            Verdict.MALFORMED,
            "Malformed metadata for host 52: non-parsable metadata version x",
        ),
        (
            "1|1|soon|1|0|x|h",
            Verdict.MALFORMED,
            "Malformed metadata for host 52: 'soon' is not a number",
        ),
    ],
)
def test_bad_lines(line: str, verdict: Verdict, message: str) -> None:
    found = judged(line)
    assert (found.verdict, found.message, found.record) == (verdict, message, None)
    assert found.bad


def test_newer_feature_versions_and_unknown_tokens_can_be_read() -> None:
    assert judged("1|7|1|1|0|x|h").verdict is Verdict.OK
    line = f"{LINES[1]}|future|more"
    message = judged(line, 1).message or ""
    actual = message.rpartition(" ")[2].rstrip(".")
    assert record_of(judged(line.replace("2539c561", actual), 1)).crc32 == actual


@pytest.mark.parametrize("where", [0, 200, 511, 512, 4095])
def test_one_byte_that_is_not_utf8_condemns_its_own_block_only(where: int) -> None:
    bad = bytearray(block(LINES[1], "state=EngineUp\n"))
    bad[where] = 0xFF
    found = judge_whiteboard(block("maintenance=1") + bytes(bad) + block(LINES[2]))
    assert [one.verdict for one in found] == [Verdict.OK, Verdict.UNREADABLE, Verdict.OK]


def test_a_block_that_begins_with_nul_is_empty() -> None:
    assert judge_block(5, b"\0" + b"\xff" * 4095) == Block(5, Verdict.EMPTY, None, None)
    assert judge_whiteboard(b"\0" * BLOCK_BYTES * 3) == ()
    assert not judge_block(5, b"").bad


def test_a_block_cut_short_is_malformed() -> None:
    message = judge_block(5, b"1|1|1|1|0|x|h").message
    assert message == "Malformed metadata for host 5: received 13 of 512 expected bytes"


def test_the_range_ends_with_the_last_host_id() -> None:
    data = bytearray(RANGE_BYTES + BLOCK_BYTES)
    data[MAX_HOST_ID * BLOCK_BYTES :] = block(LINES[1]) * 2
    assert [found.host_id for found in judge_whiteboard(bytes(data))] == [MAX_HOST_ID]


def test_the_text_for_people() -> None:
    extra = "score=3400\nstate=EngineUp\nstopped=False\n"
    found = record_of(judge_block(1, block(LINES[1], extra)))
    assert (found.extra, found.state) == (extra, "EngineUp")
    assert (found.vm, found.health, found.detail) == ("up", "good", "Up")


@pytest.mark.parametrize("status", ["", "{", "[1]", "null", '{"vm": 3}', "[" * 1000])
def test_an_engine_status_that_tells_nothing(status: str) -> None:
    assert replace(FULL, engine_status=status).vm is None


@pytest.mark.parametrize(
    ("text", "maintenance"),
    [
        ("maintenance=1", True),
        ("maintenance=True", True),
        ("maintenance=yes", True),
        ("maintenance=0", False),
        ("maintenance=False", False),
        ("maintenance=No", False),
        ("unknown=1", None),
        ("no equals sign", None),
        ("unknown=1\nmaintenance=1", True),
    ],
)
def test_the_global_block(text: str, maintenance: bool | None) -> None:
    assert judge_block(GLOBAL_BLOCK, block(text)).record == GlobalRecord(maintenance)


@pytest.mark.parametrize("value", ["", "2", "maybe", " 1"])
def test_a_flag_that_is_none_is_malformed(value: str) -> None:
    assert judge_block(GLOBAL_BLOCK, block(f"maintenance={value}")).verdict is Verdict.MALFORMED


@pytest.mark.parametrize("flag", [True, False])
def test_the_global_block_is_written_as_upstream_writes_it(flag: bool) -> None:
    raw = encode_global(flag)
    assert raw == f"maintenance={int(flag)}".encode() + bytes(4083)
    assert judge_block(GLOBAL_BLOCK, raw).record == GlobalRecord(flag)


@pytest.mark.parametrize(
    "changes",
    [
        {"hostname": "a|b"},
        {"hostname": "a\nb"},
        {"hostname": "h" * 500},
        {"hostname": "é" * 250},
        {"engine_status": "a|b"},
        {"extra": "x" * (BLOCK_BYTES - 511)},
        {"extra": "a\0b"},
    ],
)
def test_what_does_not_fit_or_breaks_the_line_is_not_written(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="host 1"):
        encode_record(replace(FULL, **changes))


def test_the_largest_block_that_fits() -> None:
    full = replace(FULL, extra="x" * (BLOCK_BYTES - 512))
    raw = encode_record(full)
    assert len(raw) == BLOCK_BYTES
    assert record_of(judge_block(1, raw)).extra == full.extra
