"""What is put on a host: the package without its simulator, the command, the units."""

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ha.agent_run import STOP_LIMIT_SECONDS
from ha.broker import LEAVE_SECONDS
from ha.env.mail import TEMPLATE
from ha.execute import END_GRACE_SECONDS, START_GRACE_SECONDS
from ha.host_lease import BUSY_SECONDS
from ha.rpc import RELEASE_SECONDS, TIMEOUT_SECONDS
from ha.services import SHUTDOWN_LOOK_SECONDS

PROJECT = Path(__file__).resolve().parents[2]
AGENT = PROJECT / "ha/host/ovirt-ha-agent.service"
BROKER = PROJECT / "ha/host/ovirt-ha-broker.service"


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


def test_the_text_of_mails_is_there_and_an_operators_own_stays(tmp_path: Path) -> None:
    argv = ["ha/host/install", str(tmp_path)]
    subprocess.run(argv, cwd=PROJECT, check=True)
    text = tmp_path / "etc/ovirt-hosted-engine-ha/notifications/state_transition.txt"
    assert text.read_text() == TEMPLATE
    text.write_text("Subject: ours\n\n{detail}")
    subprocess.run(argv, cwd=PROJECT, check=True)
    assert text.read_text() == "Subject: ours\n\n{detail}"


@pytest.mark.parametrize(("given", "told"), [([], "0.1.0"), (["2.0-1"], "2.0-1")])
def test_the_command_tells_the_installed_version(
    tmp_path: Path, given: list[str], told: str
) -> None:
    pytest.importorskip("sanlock")
    pytest.importorskip("libvirt")
    subprocess.run(["ha/host/install", str(tmp_path), *given], cwd=PROJECT, check=True)
    library = tmp_path / "usr/lib/hosted-engine-runbooks"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ha.cli", "--version"],
        env={**os.environ, "PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{told}\n")


def test_the_daemons_and_the_command_import_only_what_is_installed(installed: Path) -> None:
    pytest.importorskip("sanlock")
    pytest.importorskip("libvirt")
    library = installed / "usr/lib/hosted-engine-runbooks"
    code = "import ha.__main__, ha.daemons, ha.cli.__main__; ha.__main__.main(['--help'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "restart"), [("broker", "on-failure"), ("agent", "always")])
def test_units(installed: Path, name: str, restart: str) -> None:
    unit = unit_of(installed / f"lib/systemd/system/ovirt-ha-{name}.service")
    condition = unit["Unit"]["ConditionFileNotEmpty"]
    assert condition == "/etc/ovirt-hosted-engine/hosted-engine.conf"
    assert unit["Service"]["ExecStart"] == f"/usr/bin/python3 -P -m ha {name}"
    assert unit["Service"]["Restart"] == restart


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def unit_of(file: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(file)
    return unit


def test_the_agent_ends_by_itself_before_systemd_ends_it() -> None:
    limit_seconds = seconds(unit_of(AGENT)["Service"]["TimeoutStopSec"])
    assert limit_seconds >= STOP_LIMIT_SECONDS + 10
    # Its own limit leaves time for every part of its way out.
    parts = TIMEOUT_SECONDS, START_GRACE_SECONDS, END_GRACE_SECONDS, RELEASE_SECONDS
    assert sum(parts) + TIMEOUT_SECONDS + 10 <= STOP_LIMIT_SECONDS  # 10 s: END_START_SECONDS


def test_the_broker_leaves_its_lockspaces_before_systemd_ends_it() -> None:
    limit_seconds = seconds(unit_of(BROKER)["Service"]["TimeoutStopSec"])
    assert limit_seconds >= LEAVE_SECONDS + SHUTDOWN_LOOK_SECONDS + 10
    assert BUSY_SECONDS < LEAVE_SECONDS
    # At shutdown what stops the guests comes first: a lockspace that a VM uses cannot be left.
    assert "libvirt-guests.service" in unit_of(BROKER)["Unit"]["Before"].split()
    assert "sanlock.service" in unit_of(BROKER)["Unit"]["After"].split()


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
