"""agent.conf, broker.conf, events.conf and ha.conf with anything that may be in them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ha.config import ConfigError, Paths
from ha.config_events import read_anomaly_settings, read_events_conf
from ha.config_files import load_settings
from ha.local_maintenance import load_local_maintenance
from tests.ha.fuzz.right_files import FULL, INI, checked, text_of
from tests.ha.fuzz.strategies import fuzz, texts


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


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("[DEFAULT]\nsmtp-port=1\n", "DEFAULT: is unknown"),
        ("[email]\nsource-email=a\n b\n", "source-email: goes on in the next line"),
        ("[email]\nsource-email=a\x0bsmtp-port=1\n", "line 2 has the control character"),
        ("[email]\nsource-email=a\u2028smtp-port=1\n", "line 2 has the control character"),
        ("[email]\nsource-email=a\rsmtp-port=1\n", "line 2 has the control character"),
        ("[email]\nsmtp-timeout=inf\n", "'inf' is no number"),
        ("[notify]\nx=a{99999999999}\n", "x: is no regular expression"),
    ],
)
def test_what_an_editor_shows_otherwise_is_refused(folder: Path, more: str, words: str) -> None:
    error = refuses(INI["broker.conf"][1], folder / "broker.conf", more.encode())
    assert error is not None
    assert words in str(error)


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
