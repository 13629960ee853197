"""A whole turn of the core on a hostile whiteboard: it decides, and as without the block."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ha.core.facts import Memory, Monotonic
from ha.core.record import encode_global, encode_record, judge_block
from ha.core.score import CoreSettings
from ha.observe import Known, look_at_host, look_at_whiteboard, observation
from ha.turn import Turn, take_turn
from tests.ha.fakes import FakeBroker
from tests.ha.fuzz.strategies import TOKENS, block_of, fuzz, texts

OWN, PEER, HOSTILE = 1, 2, 3


def turn_on(blocks: dict[int, bytes], memory: Memory, now: int) -> Turn:
    """One turn of host 1 which sees these blocks."""
    broker = FakeBroker()
    broker.blocks = dict(blocks)
    sight = look_at_whiteboard(broker, Known(), host_id=OWN, now=now, full_read_seconds=60)
    seen = observation(Monotonic(now), look_at_host(broker, maintenance=False), sight)
    return take_turn(memory, seen, CoreSettings(OWN, 96), lambda action: True)


def peers_block(now: int) -> bytes:
    record = judge_block(PEER, block_of((*TOKENS[:2], str(now), *TOKENS[3:]))).record
    return encode_record(record)  # type: ignore[arg-type]


@settings(fuzz, max_examples=40)
@given(raw=st.one_of(
    st.binary(max_size=4096),
    st.tuples(st.integers(0, 11), texts.filter(lambda text: "|" not in text)).map(
        lambda pair: "|".join((*TOKENS[: pair[0]], pair[1], *TOKENS[pair[0] + 1 :])).encode(
            errors="replace"
        )
    ),
))  # fmt: skip
@example(b"2|2|1|3|0|x|h")
@example(b"\xff" * 4096)
@example(b"1|1|99|3|999999999999999999|{}|h")
@example(b"1|1|99|3|-5|" + b"[" * 400 + b"|h")
def test_a_hostile_block_that_stands_still_changes_no_decision(raw: bytes) -> None:
    with_it, without = Memory(), Memory()
    for now in range(0, 150, 10):
        blocks = {0: encode_global(False), PEER: peers_block(now)}
        one = turn_on({**blocks, HOSTILE: raw.ljust(4096, b"\0")[:4096]}, with_it, now)
        other = turn_on(blocks, without, now)
        assert (one.states, one.actions, one.memory.score) == (
            (other.states, other.actions, other.memory.score)
        )
        with_it, without = one.memory, other.memory


@fuzz
@given(st.binary(min_size=1, max_size=4096))
@example(b"maintenance=maybe")
@example(b"maintenance=\xff")
def test_a_hostile_block_0_is_no_maintenance_unless_it_says_so(raw: bytes) -> None:
    found = turn_on({0: raw.ljust(4096, b"\0")}, Memory(), 0)
    says = raw.startswith(b"maintenance=") or b"\nmaintenance=" in raw.replace(b"\r", b"\n")
    assert says or "GlobalMaintenance" not in [state.value for state in found.states]
