"""What the fuzzing shares: settings that make every run the same, and hostile pieces."""

import zlib

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# Derandomized: a failure comes again in every run, and its example is then kept as @example.
fuzz = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

HOSTILE_TEXTS = (
    *("", " ", "0", "-1", "1_0", "+1", "٣", "²", "1e999", "nan", "inf", "None", "True", "9" * 400),
    *("\0", "\x1b[2J", "\u202e", "\u2028", "\ufeff", "\ud800", "é" * 200, "$(reboot)", "`x`"),
    *("a b", "a=b", "a|b", "{", "}" * 50, "[" * 400, '"', "'", "\\", "%s", "%(x)s", "{detail}"),
)
texts = st.one_of(st.sampled_from(HOSTILE_TEXTS), st.text(max_size=40))

UP = '{"vm": "up", "health": "good", "detail": "Up"}'
# The tokens of a host's line, as the versions since 3.3 add them one after the other.
TOKENS = ("1", "1", "4262", "1", "3400", UP, "h1.example.com", "0", "1", "", "1", "4260")


def line_of(tokens: tuple[str, ...]) -> bytes:
    """A host's line with its checksum, if it has the place for one."""
    if len(tokens) > 9:
        plain = (*tokens[:9], "00000000", *tokens[10:])
        checksum = f"{zlib.crc32('|'.join(plain).encode()):08x}"
        tokens = (*tokens[:9], checksum, *tokens[10:])
    return "|".join(tokens).encode()


def block_of(tokens: tuple[str, ...], extra: bytes = b"state=EngineUp\nstopped=False\n") -> bytes:
    """A whole block."""
    return (line_of(tokens).ljust(512, b"\0") + extra).ljust(4096, b"\0")
