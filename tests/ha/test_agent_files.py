import os
import threading
import time
from pathlib import Path

import pytest

from ha.agent_files import HostFiles
from ha.conf_archive import MEMBERS, pack
from ha.env.clock import HostClock
from ha.env.threads import HostThreads
from ha.execute import ConfUnavailable
from ha.vm_conf import encode_xml
from tests.ha.fakes import settings_for

LIMIT_SECONDS = 0.5
LEASE = "<lease><lockspace>sd</lockspace><key>vm</key><target path='/lease'/></lease>"
XML = f"<domain type='kvm'><name>HostedEngine</name><os/><devices>{LEASE}</devices></domain>"


@pytest.fixture
def files(tmp_path: Path) -> HostFiles:
    settings = settings_for(tmp_path)
    settings.paths.state.mkdir(parents=True)
    settings.paths.run.mkdir(parents=True)
    return HostFiles(
        settings,
        tmp_path / "configuration",
        clock=HostClock(),
        threads=HostThreads(),
        limit_seconds=LIMIT_SECONDS,
    )


def test_either_flag_is_local_maintenance_and_a_broken_file_changes_nothing(
    files: HostFiles, tmp_path: Path
) -> None:
    ha_conf = tmp_path / "var/lib/ovirt-hosted-engine-ha/ha.conf"
    assert files.local_maintenance() is False
    ha_conf.write_text("local_maintenance=False\nlocal_maintenance_manual=True\n")
    assert files.local_maintenance() is True
    ha_conf.write_text("local_maintenance=perhaps\n")
    assert files.local_maintenance() is True
    ha_conf.write_text("local_maintenance=False\nlocal_maintenance_manual=False\n")
    assert files.local_maintenance() is False


@pytest.mark.parametrize("data", [b"local_maintenence=True\n", b"\xff\n", b"perhaps\n", None])
def test_an_agent_that_cannot_read_its_flag_at_its_start_is_in_maintenance(
    files: HostFiles, tmp_path: Path, data: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator may have meant it; a host that stays out of service starts no VM."""
    ha_conf = tmp_path / "var/lib/ovirt-hosted-engine-ha/ha.conf"
    if data is None:
        ha_conf.mkdir()  # there, and cannot be read
    else:
        ha_conf.write_bytes(data)
    assert files.local_maintenance() is True
    assert "counts as in local maintenance until ha.conf can be read" in caplog.text
    if data is None:
        ha_conf.rmdir()
    else:
        ha_conf.write_text("local_maintenance=False\n")
    assert files.local_maintenance() is False


def test_no_definition_is_given_to_start_once_maintenance_is_written(
    files: HostFiles, tmp_path: Path
) -> None:
    """The turn may have begun before, with a flag that was off."""
    vm_conf = tmp_path / "var/run/ovirt-hosted-engine-ha/vm.conf"
    vm_conf.write_text(f"memSize=2048\nxmlBase64={encode_xml(XML)}\n")
    assert files.local_maintenance() is False
    ha_conf = tmp_path / "var/lib/ovirt-hosted-engine-ha/ha.conf"
    ha_conf.write_text("local_maintenance=True\n")
    with pytest.raises(ConfUnavailable, match="in local maintenance"):
        files.vm_xml()


def test_the_definition_is_readied_for_this_host(files: HostFiles, tmp_path: Path) -> None:
    vm_conf = tmp_path / "var/run/ovirt-hosted-engine-ha/vm.conf"
    vm_conf.write_text(f"memSize=2048\nxmlBase64={encode_xml(XML)}\n")
    assert "smbios" in files.vm_xml()
    assert files.vm_memory_mib() == 2048.0


@pytest.mark.parametrize("text", [None, "", "memSize=much\n", "xmlBase64=%%%\n"])
def test_without_a_usable_definition_nothing_is_started(
    files: HostFiles, tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "var/run/ovirt-hosted-engine-ha/vm.conf").write_text(text)
    with pytest.raises(ConfUnavailable):
        files.vm_xml()
    assert files.vm_memory_mib() == 0.0


def test_a_configuration_that_cannot_be_fetched_is_told(files: HostFiles) -> None:
    with pytest.raises(ConfUnavailable, match="No such file"):
        files.refresh()


def put_archive(volume: Path, **files: str) -> None:
    named = {name: files.get(name.partition(".")[0], "") for name in MEMBERS}
    volume.write_bytes(pack(named))


def test_vm_conf_and_broker_conf_are_fetched(files: HostFiles, tmp_path: Path) -> None:
    paths = settings_for(tmp_path).paths
    put_archive(tmp_path / "configuration", vm="memSize=1\n", broker="[email]\nsmtp-port=26\n")
    files.refresh()
    assert paths.vm_conf.read_text() == "memSize=1\n"
    assert paths.broker_conf.read_text() == "[email]\nsmtp-port=26\n"
    before = paths.broker_conf.stat().st_ino
    files.refresh()
    assert paths.broker_conf.stat().st_ino == before


def test_a_shared_broker_conf_that_is_wrong_is_told_once_and_not_taken(
    files: HostFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = settings_for(tmp_path).paths
    paths.broker_conf.write_text("[email]\nsmtp-port=25\n")
    put_archive(tmp_path / "configuration", vm="memSize=1\n", broker="[email]\nsmtp-prot=26\n")
    files.refresh()
    files.refresh()
    assert paths.broker_conf.read_text() == "[email]\nsmtp-port=25\n"
    assert paths.vm_conf.read_text() == "memSize=1\n"
    assert caplog.text.count("Did you mean smtp-port?") == 1


def test_a_configuration_volume_that_hangs_costs_a_moment_only(
    files: HostFiles, tmp_path: Path
) -> None:
    volume = tmp_path / "configuration"
    os.mkfifo(volume)  # opening it to read hangs until somebody opens it to write
    took_seconds = []
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(ConfUnavailable, match="has not come back"):
            files.refresh()
        took_seconds.append(time.monotonic() - began)
    assert sum(took_seconds) < 2 * LIMIT_SECONDS  # waited for once, and not asked again meanwhile

    with volume.open("wb"):
        wait_for_end_of("refresh-vm-conf")
        with pytest.raises(ConfUnavailable, match="Invalid argument"):
            files.refresh()
    volume.unlink()
    write_archive_at(volume)
    files.refresh()
    assert files.vm_memory_mib() == 96.0


def wait_for_end_of(thread_name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == thread_name:
            thread.join(5)


def write_archive_at(volume: Path) -> None:
    volume.write_bytes(pack({**dict.fromkeys(MEMBERS, ""), "vm.conf": "memSize=96\n"}))
