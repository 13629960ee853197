"""The whiteboard's blocks: bytes to values and back, in upstream's format, versions 1/1.

Theory of operation. The whiteboard is a row of blocks of 4096 bytes. Block 0 belongs to the
cluster and holds its maintenance flag as text; block *n* belongs to the host with id *n*: a line
of tokens in the first 512 bytes, then lines for people. Every block is judged on its own: upstream
decodes the whole area at once, so that one bad byte anywhere stops the HA of every host.
Longer than 250 lines because it is a codec: reading and writing stay side by side.
"""

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

BLOCK_BYTES = 4096
HEAD_BYTES = 512
GLOBAL_BLOCK = 0
MAX_HOST_ID = 2000
RANGE_BYTES = (MAX_HOST_ID + 1) * BLOCK_BYTES

PARSE_VERSION = 1
FEATURE_VERSION = 1
_LEAST_TOKENS = 7
_CRC_TOKEN = 9
_CRC_PLACEHOLDER = "00000000"
# As writers write them: Python would take 1_0 and the digits of any script, of any length.
_INTEGER = re.compile("-?[0-9]{1,18}")
# The last two tokens came together (upstream's lib/metadata.py), so the last one decides.
_CONF_TIMESTAMP = 11


class Verdict(StrEnum):
    """What reading one block came to."""

    OK = "ok"
    TOO_NEW = "too_new"
    MALFORMED = "malformed"
    UNREADABLE = "unreadable"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Record:
    """One host's record; an optional field is None when the writer was too old to send it.

    `timestamp` and `local_conf_timestamp` are seconds of the *writer's* monotonic clock: they
    tell change, and are never compared with a clock of ours.
    """

    host_id: int
    timestamp: int
    score: int
    engine_status: str
    hostname: str
    maintenance: bool | None = None
    stopped: bool | None = None
    crc32: str | None = None
    conf_on_shared_storage: bool | None = None
    local_conf_timestamp: int | None = None
    extra: str = ""

    @property
    def state(self) -> str | None:
        """The state machine's state, which only the text for people tells."""
        for line in self.extra.splitlines():
            key, _, value = line.partition("=")
            if key == "state":
                return value
        return None

    @property
    def vm(self) -> str | None:
        """The engine VM's state on that host ("up", "down", ...), None when it is not told."""
        return self._engine("vm")

    @property
    def health(self) -> str | None:
        """The engine's health as that host sees it ("good", "bad", "unknown")."""
        return self._engine("health")

    @property
    def detail(self) -> str | None:
        """The engine VM's state in the hypervisor's own words ("Up", "Paused", ...)."""
        return self._engine("detail")

    def _engine(self, key: str) -> str | None:
        try:
            status = json.loads(self.engine_status)
        except (ValueError, RecursionError):
            return None
        value = status.get(key) if isinstance(status, dict) else None
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class GlobalRecord:
    """What block 0 says of the cluster; None = the flag is not there, hence no maintenance."""

    maintenance: bool | None


@dataclass(frozen=True, slots=True)
class Block:
    """One block, judged; `record` only when the verdict is OK, `message` only when it is bad."""

    host_id: int
    verdict: Verdict
    record: Record | GlobalRecord | None
    message: str | None

    @property
    def bad(self) -> bool:
        """Whether the block holds something that no reader of our version can use."""
        return self.verdict in (Verdict.TOO_NEW, Verdict.MALFORMED, Verdict.UNREADABLE)


class _Malformed(ValueError):
    """Raised by the parsers for a block that does not follow the format."""


class _TooNew(ValueError):
    """Raised by the parser for a block whose writer demands a newer reader."""


def judge_block(host_id: int, block: bytes) -> Block:
    """Judge one block by upstream's reader rules, in their order; never raises on its content."""
    if not block or block[0] == 0:
        return Block(host_id, Verdict.EMPTY, None, None)
    parse: Callable[[int, bytes], Record | GlobalRecord]
    parse = _parse_global if host_id == GLOBAL_BLOCK else _parse_record
    try:
        return Block(host_id, Verdict.OK, parse(host_id, block), None)
    except UnicodeDecodeError as error:
        message = f"Malformed metadata for host {host_id}: not UTF-8 at byte {error.start}"
        return Block(host_id, Verdict.UNREADABLE, None, message)
    except _TooNew as error:
        return Block(host_id, Verdict.TOO_NEW, None, str(error))
    except _Malformed as error:
        return Block(host_id, Verdict.MALFORMED, None, str(error))


def judge_whiteboard(data: bytes) -> tuple[Block, ...]:
    """Judge every non-empty block of a whiteboard, ascending; data past the range is ignored."""
    end = min(len(data), RANGE_BYTES)
    blocks = (
        judge_block(start // BLOCK_BYTES, data[start : min(start + BLOCK_BYTES, end)])
        for start in range(0, end, BLOCK_BYTES)
        if data[start] != 0
    )
    return tuple(blocks)


def encode_record(record: Record) -> bytes:
    """Return the host's whole block.

    Raises ValueError for a host id that has no block, when a text would break the line apart or
    when the line or the block would not fit: upstream does not look, and a longer text overwrites
    the next host's block.
    """
    if not 1 <= record.host_id <= MAX_HOST_ID:
        raise ValueError(f"host id {record.host_id} is outside 1..{MAX_HOST_ID}")
    for name, text in (("hostname", record.hostname), ("engine status", record.engine_status)):
        if any(char in text for char in "|\n\0"):
            raise ValueError(f"host {record.host_id}: {name} {text!r} cannot be written")
    for number in (record.timestamp, record.score, record.local_conf_timestamp or 0):
        if not _INTEGER.fullmatch(str(number)):
            raise ValueError(f"host {record.host_id}: {number} cannot be written")
    if "\0" in record.extra:
        raise ValueError(f"host {record.host_id}: the extra text holds a NUL")
    tokens = [
        str(PARSE_VERSION),
        str(FEATURE_VERSION),
        str(record.timestamp),
        str(record.host_id),
        str(record.score),
        record.engine_status,
        record.hostname,
        _flag(record.maintenance),
        _flag(record.stopped),
        _CRC_PLACEHOLDER,
        _flag(record.conf_on_shared_storage),
        str(record.local_conf_timestamp or 0),
    ]
    tokens[_CRC_TOKEN] = _checksum(tokens)
    head = "|".join(tokens).encode()
    if len(head) > HEAD_BYTES:
        raise ValueError(f"host {record.host_id}: line of {len(head)} bytes, limit {HEAD_BYTES}")
    block = head.ljust(HEAD_BYTES, b"\0") + record.extra.encode()
    if len(block) > BLOCK_BYTES:
        raise ValueError(f"host {record.host_id}: block of {len(block)} bytes, limit {BLOCK_BYTES}")
    return block.ljust(BLOCK_BYTES, b"\0")


def encode_global(maintenance: bool) -> bytes:
    """Return block 0 with the cluster's maintenance flag."""
    return f"maintenance={_flag(maintenance)}".encode().ljust(BLOCK_BYTES, b"\0")


def _flag(value: bool | None) -> str:
    return "1" if value else "0"


def _checksum(tokens: list[str]) -> str:
    """CRC-32 over all tokens present, the checksum's own place filled with zeros."""
    line = [*tokens[:_CRC_TOKEN], _CRC_PLACEHOLDER, *tokens[_CRC_TOKEN + 1 :]]
    return f"{zlib.crc32('|'.join(line).encode()) & 0xFFFFFFFF:08x}"


def _parse_record(host_id: int, block: bytes) -> Record:
    if len(block) < HEAD_BYTES:
        raise _Malformed(
            f"Malformed metadata for host {host_id}:"
            f" received {len(block)} of {HEAD_BYTES} expected bytes"
        )
    block.decode()  # a stray byte in the text for people condemns the block too, as upstream's does
    line = block[:HEAD_BYTES].decode().rstrip("\0")
    tokens = line.split("|")
    _check_versions(host_id, line, tokens)
    optional: list[str | None] = [*tokens[_LEAST_TOKENS:], *[None] * 5]
    maintenance, stopped, crc32, shared_conf, conf_timestamp = optional[:5]
    if len(tokens) <= _CONF_TIMESTAMP:  # the last two came together
        shared_conf = conf_timestamp = None
    record = Record(
        host_id=host_id,
        timestamp=_number(host_id, tokens[2]),
        score=_number(host_id, tokens[4]),
        engine_status=tokens[5],
        hostname=tokens[6],
        maintenance=_bool(host_id, maintenance),
        stopped=_bool(host_id, stopped),
        crc32=crc32,
        conf_on_shared_storage=_bool(host_id, shared_conf),
        local_conf_timestamp=None if conf_timestamp is None else _number(host_id, conf_timestamp),
        extra=block[HEAD_BYTES:].decode().rstrip("\0"),
    )
    if crc32 is not None and crc32 != (actual := _checksum(tokens)):
        raise _Malformed(
            f"Malformed metadata for host {host_id}:"
            f" provided checksum {crc32} does not match the data {actual}."
        )
    return record


def _check_versions(host_id: int, line: str, tokens: list[str]) -> None:
    # The leading digits are read before the line is split, so that the delimiter may change
    # in a later version and old readers still see that it is too new for them.
    digits = re.match("[0-9]+", line)
    if digits is None:
        raise _Malformed(
            f"Malformed metadata for host {host_id}: non-parsable metadata version {line}"
        )
    if int(digits[0]) > FEATURE_VERSION:
        raise _TooNew(
            f"Metadata version {int(digits[0])} from host {host_id} too new for this agent"
            f" (highest compatible version: {FEATURE_VERSION})"
        )
    if len(tokens) < _LEAST_TOKENS:
        raise _Malformed(
            f"Malformed metadata for host {host_id}:"
            f" received {len(tokens)} of {_LEAST_TOKENS} expected tokens"
        )
    if not _INTEGER.fullmatch(tokens[1]):
        raise _Malformed(
            f"Malformed metadata for host {host_id}: non-parsable metadata version {tokens[1]}"
        )
    feature_version = int(tokens[1])
    if feature_version < PARSE_VERSION:
        raise _Malformed(
            f"Metadata version {feature_version} from host {host_id} too old for this agent"
            f" (lowest compatible version: {PARSE_VERSION})"
        )


def _number(host_id: int, token: str) -> int:
    if not _INTEGER.fullmatch(token):
        raise _Malformed(f"Malformed metadata for host {host_id}: {token!r} is not a number")
    return int(token)


def _bool(host_id: int, token: str | None) -> bool | None:
    return None if token is None else bool(_number(host_id, token))


def _parse_global(host_id: int, block: bytes) -> GlobalRecord:
    maintenance: bool | None = None
    for line in block.decode().rstrip("\0").splitlines():
        key, separator, value = line.partition("=")
        if key != "maintenance" or not separator:
            continue  # an unknown key is passed over: a newer cluster may keep more here
        first = value[:1].lower()
        if first not in ("t", "y", "1", "f", "n", "0") or not first:
            raise _Malformed(f"Malformed global metadata: maintenance={value!r} is not a flag")
        maintenance = first in ("t", "y", "1")
    return GlobalRecord(maintenance)
