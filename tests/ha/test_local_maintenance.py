"""ha.conf, with several writers at once."""

import threading
from pathlib import Path

import pytest

from ha.config import ConfigError, LocalMaintenance, Paths
from ha.local_maintenance import load_local_maintenance, save_local_maintenance


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path)


def test_without_a_file_there_is_no_maintenance(paths: Paths) -> None:
    assert load_local_maintenance(paths) == LocalMaintenance()


@pytest.mark.parametrize("engine", [True, False])
@pytest.mark.parametrize("manual", [True, False])
def test_either_flag_puts_the_host_out_of_service(paths: Paths, engine: bool, manual: bool) -> None:
    flags = LocalMaintenance(engine, manual)
    save_local_maintenance(paths, flags)
    assert load_local_maintenance(paths) == flags
    assert flags.on is (engine or manual)


def test_what_else_is_in_the_file_stays(paths: Paths) -> None:
    paths.ha_conf.parent.mkdir(parents=True)
    paths.ha_conf.write_text("other=1\nlocal_maintenance=True\n")
    paths.ha_conf.chmod(0o640)
    save_local_maintenance(paths, LocalMaintenance())
    assert paths.ha_conf.read_text() == (
        "other=1\nlocal_maintenance=False\nlocal_maintenance_manual=False\n"
    )
    assert paths.ha_conf.stat().st_mode & 0o777 == 0o640


def test_a_word_that_is_no_flag_is_refused(paths: Paths) -> None:
    paths.ha_conf.parent.mkdir(parents=True)
    paths.ha_conf.write_text("local_maintenance=maybe\n")
    with pytest.raises(ConfigError, match="'maybe' is neither True nor False"):
        load_local_maintenance(paths)


def test_a_key_misspelt_is_no_maintenance_forgotten(paths: Paths) -> None:
    paths.ha_conf.parent.mkdir(parents=True)
    paths.ha_conf.write_text("local_maintenence=True\n")
    with pytest.raises(ConfigError, match="Did you mean local_maintenance?"):
        load_local_maintenance(paths)
    with pytest.raises(ConfigError, match="Did you mean local_maintenance?"):
        save_local_maintenance(paths, LocalMaintenance(manual=True))
    assert paths.ha_conf.read_text() == "local_maintenence=True\n"


def test_a_reader_never_sees_half_a_file(paths: Paths) -> None:
    both, none = LocalMaintenance(True, True), LocalMaintenance()
    save_local_maintenance(paths, none)

    def write() -> None:
        for _ in range(50):
            save_local_maintenance(paths, both)
            save_local_maintenance(paths, none)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert load_local_maintenance(paths) in (both, none)
    assert load_local_maintenance(paths) == none
