"""Configuration files with missing, double, misspelt and contradictory keys, and any other text."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ha.config import ConfigError, HostedEngineConf, Paths
from ha.config_events import read_anomaly_settings, read_events_conf
from ha.config_files import load_settings, read_agent_conf, read_broker_conf
from ha.config_host import KNOWN_KEYS, REQUIRED_KEYS, host_conf_of
from ha.config_text import key_values_of
from ha.local_maintenance import load_local_maintenance
from tests.ha.deployed import KEYS, uuid
from tests.ha.fuzz.strategies import HOSTILE_TEXTS, fuzz, texts

PATH = Path("/etc/ovirt-hosted-engine/hosted-engine.conf")
# Every key that is used, in a file that is right.
FULL = {
    **KEYS,
    "domainType": "nfs",
    "storage": "server:/he",
    "spUUID": "00000000-0000-0000-0000-000000000000",
    "connectionUUID": uuid(11),
    "mnt_options": "soft",
    "console": "vnc",
    "configured": "True",
    "gateway": "192.0.2.1",
    "network_test": "tcp",
    "tcp_t_address": "192.0.2.2",
    "tcp_t_port": "22",
}
INI = {
    "agent.conf": (
        "agent_conf",
        read_agent_conf,
        "[score]\nbase-score=3400\nnetwork-score-penalty=1600\n[timing]\nloop_seconds=10\n",
    ),
    "broker.conf": (
        "broker_conf",
        read_broker_conf,
        "[email]\nsmtp-server=localhost\nsmtp-port=25\nsmtp-timeout=10\nsource-email=root@h\n"
        "destination-emails=a@b, c@d\n[notify]\nstate_transition=start|stop\n",
    ),
    "events.conf": (
        "events_conf",
        read_events_conf,
        "[events]\nurl=http://control:4200/api\ncluster=lab\n[anomalies]\n",
    ),
}


def text_of(values: dict[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())


def checked(error: ConfigError, path: Path) -> ConfigError:
    """An error must name the file and the key, and say what to do."""
    assert str(path) in str(error)
    assert all((error.key, error.problem, error.remedy))
    return error


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conf")


def refuses(load: Callable[[Path], object], path: Path, data: bytes) -> ConfigError | None:
    path.write_bytes(data)
    try:
        load(path)
    except ConfigError as error:
        return checked(error, path)
    return None


@fuzz
@given(name=st.sampled_from(sorted(INI)), at=st.integers(0, 200), more=texts, cut=st.booleans())
@example(name="broker.conf", at=0, more="[DEFAULT]\nsmtp-port=1\n", cut=False)
@example(name="events.conf", at=9, more="url=http://[::1\ncluster=x\n", cut=True)
@example(name="events.conf", at=9, more="url=http://h:99999/\ncluster=x\n", cut=True)
@example(name="broker.conf", at=8, more="smtp-timeout=inf\n", cut=True)
@example(name="broker.conf", at=8, more="[notify]\nx=a{99999999999}\n", cut=True)
@example(name="broker.conf", at=8, more="source-email=a\n b\n", cut=True)
def test_sections_of_any_kind(folder: Path, name: str, at: int, more: str, cut: bool) -> None:
    _, load, text = INI[name]
    changed = text[:at] + more + ("" if cut else text[at:])
    refuses(load, folder / name, changed.encode(errors="surrogatepass"))


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://h:99999/", "http://h:0/", "http://h:x/", "http:///api", "ftp://h",
            "http://a:b@h/", "http://h/a b", "http://h\u00e9/", "h", "http://"]
)  # fmt: skip
def test_a_url_that_is_none(folder: Path, url: str) -> None:
    text = f"[events]\nurl={url}\ncluster=lab\n"
    error = refuses(read_events_conf, folder / "events.conf", text.encode())
    assert error is not None
    assert error.key == "url"


@pytest.mark.parametrize("name", INI)
def test_a_section_or_key_misspelt_or_twice(folder: Path, name: str) -> None:
    _, load, text = INI[name]
    assert refuses(load, folder / name, text.encode()) is None
    lines = text.splitlines(keepends=True)
    for at, line in enumerate(lines):
        others = [*lines[:at], *lines[at + 1 :]]
        twice = "".join([*lines[: at + 1], line, *lines[at + 1 :]])
        assert refuses(load, folder / name, twice.encode()), f"twice: {line}"
        if not line.startswith("state_transition"):
            wrong = line[:2] + line[1] + line[2:]
            spelt = "".join([*others[:at], wrong, *others[at:]])
            assert refuses(load, folder / name, spelt.encode()), f"misspelt: {wrong}"


@fuzz
@given(
    data=st.binary(max_size=200), which=st.sampled_from(["agent.conf", "broker.conf", "ha.conf"])
)
def test_bytes_of_any_kind(folder: Path, data: bytes, which: str) -> None:
    paths = Paths(folder)
    paths.ha_conf.parent.mkdir(parents=True, exist_ok=True)
    if which == "ha.conf":
        refuses(lambda _: load_local_maintenance(paths), paths.ha_conf, data)
    else:
        refuses(INI[which][1], folder / which, data)
    refuses(read_anomaly_settings, folder / "events.conf", data)


@pytest.mark.parametrize("name", [*INI, "hosted-engine.conf", "ha.conf"])
def test_what_is_no_file_of_text(tmp_path: Path, name: str) -> None:
    paths = Paths(tmp_path)
    file = {
        **{each: getattr(paths, attribute) for each, (attribute, _, _) in INI.items()},
        "hosted-engine.conf": paths.hosted_engine_conf,
        "ha.conf": paths.ha_conf,
    }[name]
    paths.hosted_engine_conf.parent.mkdir(parents=True)
    paths.hosted_engine_conf.write_text(text_of(FULL))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    loads: dict[str, Callable[[], object]] = {
        "events.conf": lambda: read_events_conf(file),
        "ha.conf": lambda: load_local_maintenance(paths),
    }
    load = loads.get(name, lambda: load_settings(paths))
    file.mkdir()
    with pytest.raises(ConfigError, match=name):
        load()
    file.rmdir()
    for data in (b"\xff\xfe\0", b"x=1\0", b"a" * (1024 * 1024 + 1)):
        file.write_bytes(data)
        with pytest.raises(ConfigError, match=name):
            load()
