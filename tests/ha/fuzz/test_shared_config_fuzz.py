"""One key set to any value: it reads back as it was set, and no other key is touched."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ha.config import ConfigError
from ha.shared_config import TYPES, edited, keys_of, named
from tests.ha.fuzz.right_files import FULL, INI, text_of
from tests.ha.fuzz.strategies import fuzz

PATH = Path("the file")
BROKER = (
    "; a comment\n[notify]\n\nstate_transition = start|stop\n\n# another\n[email]\n"
    "SMTP-Server : localhost\nsmtp-port=25\n\n[metrics]\n"
)
SOURCES = {
    "he_local": f"# ours\n\n{text_of(FULL)}",
    "he_shared": text_of(FULL).rstrip("\n"),
    "broker": BROKER,
    "ha": "local_maintenance=False\n",
}
# What the command lets through: one line, as it stands.
values = st.text(min_size=1, max_size=30).filter(
    lambda text: text.isprintable() and text == text.strip() and not text.startswith('"')
)


def keys(kind: str, text: str) -> dict[str, str | None]:
    return dict(keys_of(kind, PATH, text))


@pytest.mark.parametrize("kind", TYPES)
def test_every_key_can_be_set(kind: str) -> None:
    for text in (SOURCES[kind], INI["broker.conf"][2] if kind == "broker" else "", "\n\n"):
        for key in keys(kind, SOURCES[kind]):
            assert keys(kind, edited(kind, text, key, "new")) == {
                **keys(kind, text), key: "new",
            }  # fmt: skip


@fuzz
@given(kind=st.sampled_from(TYPES), at=st.integers(0, 30), value=values)
@example("broker", 0, "[x]")
@example("broker", 0, "a = b : c ; d # e")
@example("he_local", 0, "a=b")
@example("he_local", 0, "#")
def test_a_value_reads_back_and_nothing_else_changes(kind: str, at: int, value: str) -> None:
    before = keys(kind, SOURCES[kind])
    key = sorted(before)[at % len(before)]
    text = edited(kind, SOURCES[kind], key, value)
    try:
        after = keys(kind, text)
    except ConfigError:
        return
    assert after == {**before, key: value}
    comments = [line for line in SOURCES[kind].splitlines() if line.startswith(("#", ";"))]
    assert [line for line in text.splitlines() if line.startswith(("#", ";"))] == comments


def test_a_key_of_two_sections_needs_its_section() -> None:
    found = keys("broker", "[email]\nsmtp-port=25\n[notify]\nsmtp-port=x\n")
    assert named("broker", found, "smtp-port") is None
    assert named("broker", found, "email.smtp-port") == "email.smtp-port"
    assert named("broker", found, "smtp-server") == "email.smtp-server"
    assert named("broker", found, "no-such") is None
