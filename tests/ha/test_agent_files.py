from pathlib import Path

import pytest

from ha.agent_files import HostFiles
from ha.execute import ConfUnavailable
from ha.vm_conf import encode_xml
from tests.ha.fakes import settings_for

XML = "<domain type='kvm'><name>HostedEngine</name><os/></domain>"


@pytest.fixture
def files(tmp_path: Path) -> HostFiles:
    settings = settings_for(tmp_path)
    settings.paths.state.mkdir(parents=True)
    settings.paths.run.mkdir(parents=True)
    return HostFiles(settings, tmp_path / "configuration")


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
    assert files.refresh() is False
