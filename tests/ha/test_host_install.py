"""What is put on a host: the package without its simulator, the command, the units."""

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    # Twice: the second one replaces the first.
    for _ in range(2):
        subprocess.run(["ha/host/install", str(tmp_path)], cwd=PROJECT, check=True)
    return tmp_path


def test_files(installed: Path) -> None:
    library = installed / "usr/lib/hosted-engine-runbooks/ha"
    assert (library / "core/record.py").is_file()
    assert (library / "cli/__main__.py").is_file()
    assert not (library / "simulator").exists()
    assert os.access(installed / "usr/sbin/hosted-engine", os.X_OK)


@pytest.mark.parametrize(("name", "restart"), [("broker", "on-failure"), ("agent", "always")])
def test_units(installed: Path, name: str, restart: str) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(installed / f"lib/systemd/system/ovirt-ha-{name}.service")
    condition = unit["Unit"]["ConditionFileNotEmpty"]
    assert condition == "/etc/ovirt-hosted-engine/hosted-engine.conf"
    assert unit["Service"]["ExecStart"] == f"/usr/bin/python3 -P -m ha {name}"
    assert unit["Service"]["Restart"] == restart


def test_the_command_runs_from_there_alone(installed: Path) -> None:
    pytest.importorskip("sanlock")
    pytest.importorskip("libvirt")
    library = installed / "usr/lib/hosted-engine-runbooks"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ha.cli", "--no-such"],
        env={**os.environ, "PYTHONPATH": str(library)},
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Invalid option '--no-such'")
