"""What systemd says, through a systemctl of the test's own."""

from pathlib import Path

import pytest

from ha import services
from ha.services import ServicesFailed, SystemdServices, host_goes_down


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that says and ends with what the test writes."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "systemctl"


def answer(systemctl: Path, says: str, code: int, wait_seconds: float = 0) -> None:
    systemctl.write_text(f"#!/bin/sh\n/bin/sleep {wait_seconds}\necho {says}\nexit {code}\n")
    systemctl.chmod(0o755)


@pytest.mark.parametrize(
    ("says", "code", "down"),
    [
        # systemctl(1), is-system-running: 0 only for "running".
        ("running", 0, False),
        ("degraded", 1, False),
        ("starting", 1, False),
        ("maintenance", 1, False),
        ("stopping", 1, True),
        ("offline", 1, False),
        ("unknown", 4, False),
    ],
)
def test_a_host_that_goes_down_is_told_from_one_that_runs(
    systemctl: Path, says: str, code: int, down: bool
) -> None:
    answer(systemctl, says, code)
    assert host_goes_down() is down


def test_a_host_without_systemd_is_not_known_to_go_down(
    systemctl: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(systemctl.parent))
    assert host_goes_down() is False
    assert "systemctl is-system-running" in caplog.text


def test_a_systemd_that_does_not_answer_holds_nobody(
    systemctl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "SHUTDOWN_LOOK_SECONDS", 0.1)
    answer(systemctl, "stopping", 1, wait_seconds=5)
    assert host_goes_down() is False


@pytest.mark.parametrize(
    ("says", "code", "active"),
    [
        ("active", 0, True),
        ("activating", 3, True),
        ("inactive", 3, False),
        ("failed", 3, False),
        ("deactivating", 3, True),
    ],
)
def test_a_unit_that_is_about_to_run_or_to_stop_is_active(
    systemctl: Path, says: str, code: int, active: bool
) -> None:
    answer(systemctl, says, code)
    assert SystemdServices().is_active("ovirt-ha-agent") is active


def test_a_unit_that_systemd_does_not_know_is_no_stopped_one(systemctl: Path) -> None:
    answer(systemctl, "unknown", 4)
    with pytest.raises(ServicesFailed):
        SystemdServices().is_active("ovirt-ha-agent")
