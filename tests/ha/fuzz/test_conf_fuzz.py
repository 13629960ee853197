"""hosted-engine.conf with missing, double, misspelt and contradictory keys, and any other text."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ha.config import ConfigError, HostedEngineConf
from ha.config_host import KNOWN_KEYS, REQUIRED_KEYS, host_conf_of
from ha.config_text import key_values_of
from tests.ha.fuzz.right_files import FULL, checked, text_of
from tests.ha.fuzz.strategies import HOSTILE_TEXTS, fuzz, texts

PATH = Path("/etc/ovirt-hosted-engine/hosted-engine.conf")


def read(text: str) -> HostedEngineConf | ConfigError:
    """What a text comes to."""
    try:
        return host_conf_of(PATH, key_values_of(PATH, text))
    except ConfigError as error:
        return checked(error, PATH)


def misspelt(key: str) -> set[str]:
    """One letter too few, one twice, two of them swapped, one in the other case."""
    found = set()
    for at in range(len(key)):
        found |= {
            key[:at] + key[at + 1 :],
            key[:at] + key[at] + key[at:],
            key[:at] + key[at + 1 : at + 2] + key[at] + key[at + 2 :],
        }
    return {each for each in found if each and each not in KNOWN_KEYS}


def test_the_file_is_right_and_uses_every_key() -> None:
    conf = read(text_of(FULL))
    assert isinstance(conf, HostedEngineConf)
    # One field a key, one for the kind of the domain, which another key says, and all of them.
    assert len(FULL) == len(fields(conf)) - 1


@pytest.mark.parametrize("key", FULL)
def test_a_key_that_is_missing_or_empty(key: str) -> None:
    without = read(text_of({name: value for name, value in FULL.items() if name != key}))
    empty = read(text_of({**FULL, key: ""}))
    if key in REQUIRED_KEYS or key in ("storage", "tcp_t_address", "tcp_t_port"):
        assert isinstance(without, ConfigError)
        assert without.key == key
    if isinstance(without, ConfigError):
        assert isinstance(empty, ConfigError)


@pytest.mark.parametrize("key", FULL)
def test_a_key_that_is_there_twice_contradicts_itself(key: str) -> None:
    for twice in (f"{key}=other\n{text_of(FULL)}", f"{text_of(FULL)} {key} = other \n"):
        error = read(twice)
        assert isinstance(error, ConfigError)
        assert error.key == key
        assert "is there twice" in error.problem


@pytest.mark.parametrize("key", FULL)
def test_a_key_that_is_misspelt_is_not_passed_over(key: str) -> None:
    others = {name: value for name, value in FULL.items() if name != key}
    for wrong in misspelt(key):
        assert isinstance(read(text_of({**others, wrong: FULL[key]})), ConfigError), wrong


@pytest.mark.parametrize(
    "key", [key for key in FULL if key not in ("mnt_options", "console", "connectionUUID")]
)
def test_a_value_that_is_none_for_this_key(key: str) -> None:
    # A host may have any short name.
    names = ("0", "None", "True", "nan", "inf", "1e999", "1_0")
    good = names if key in ("fqdn", "bridge", "gateway", "tcp_t_address") else ()
    for value in (*HOSTILE_TEXTS, "-x", "x y", "x\ty", "http://x/"):
        if value.strip() and value.strip() != FULL[key]:
            conf = read(text_of({**FULL, key: value.replace("\0", "\x01")}))
            assert isinstance(conf, ConfigError) or value in good, value


@fuzz
@given(st.dictionaries(st.sampled_from(sorted(KNOWN_KEYS)), texts))
def test_values_of_any_kind(changes: dict[str, str]) -> None:
    conf = read(text_of({**FULL, **changes}))
    if isinstance(conf, HostedEngineConf):
        assert 1 <= conf.host_id <= 2000
        assert not conf.storage.startswith("-")
        assert "\n" not in conf.fqdn


@fuzz
@given(st.text(max_size=300))
@example("fqdn=a\x85host_id=2")
@example("fqdn=a\rhost_id=2")
@example("=x")
@example("host id=1")
@example("\ufeffhost_id=1")
def test_lines_of_any_kind(text: str) -> None:
    values = {}
    try:
        values = key_values_of(PATH, text)
    except ConfigError as error:
        checked(error, PATH)
    for key, value in values.items():
        assert key.replace("_", "a").replace(".", "a").replace("-", "a").isalnum()
        assert f"{key}" in text
        assert value in text


def test_every_truncation_of_the_file() -> None:
    whole = text_of(FULL)
    right = read(whole)
    for size in range(len(whole)):
        cut = read(whole[:size])
        # What is cut off in the last value only cannot be told; less must never be read as right.
        assert isinstance(cut, ConfigError) or size >= len(whole) - len("tcp_t_port=22\n"), size
    assert isinstance(right, HostedEngineConf)
