"""A full disk of the host, for each file that the monitor writes there."""

import logging
import os
import weakref
from pathlib import Path

import pytest

from ha.anomaly_memory import WatchFile
from ha.conf_archive import refresh_file
from ha.config import LocalMaintenance, Paths
from ha.core.anomalies import Kind, Watch
from ha.core.facts import Monotonic
from ha.daemon_log import set_up_log
from ha.local_maintenance import load_local_maintenance, save_local_maintenance
from ha.storage_domain import StorageError

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not os.access(FULL, os.W_OK), reason="no /dev/full to write to")


def fill(file: Path) -> None:
    """Have the disk full for whoever writes this file, or its next text beside it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_name(f".{file.name}.new").symlink_to(FULL)


def test_vm_conf_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "vm.conf"
    refresh_file(file, "memSize=512\n", mode=0o640)
    fill(file)
    with pytest.raises(StorageError, match="No space left"):
        refresh_file(file, "memSize=1024\n", mode=0o640)
    assert file.read_text() == "memSize=512\n"


def test_ha_conf_stays_as_it_was_and_who_sets_it_hears_of_it(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    save_local_maintenance(paths, LocalMaintenance(manual=True))
    fill(paths.ha_conf)
    with pytest.raises(OSError, match="No space left"):
        save_local_maintenance(paths, LocalMaintenance())
    assert load_local_maintenance(paths).manual


def test_the_watch_for_anomalies_is_not_kept_and_that_is_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "anomalies.json"
    fill(file)
    watch = Watch({(Kind.METADATA_GARBAGE, "2"): Monotonic(1)})
    WatchFile(file).save(watch, Monotonic(1))
    assert "is not written" in caplog.text
    assert WatchFile(file).load(Monotonic(2)) == Watch()


def test_log_lines_are_lost_from_the_file_and_not_from_the_journal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not each with a traceback beside it: the journal may be on the same disk."""
    monkeypatch.setattr(logging, "raiseExceptions", True)
    root = logging.getLogger()
    level = root.level
    monkeypatch.setattr(root, "handlers", [])
    file = tmp_path / "agent.log"
    file.symlink_to(FULL)
    set_up_log(file)
    root.setLevel(level)  # the next test's again
    for _ in range(20):
        logging.getLogger("ha.agent").error("Current state EngineUp")
    logging.shutdown([weakref.ref(handler) for handler in root.handlers])
    told = capfd.readouterr().err
    assert told.count("Current state EngineUp") == 20
    assert "Traceback" not in told
