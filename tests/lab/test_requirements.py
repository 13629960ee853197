"""What a machine lacks for the lab is said before anything is tried."""

import os

import pytest

from tests.lab import requirements
from tests.lab.cluster import Lab
from tests.lab.commands import LabError


def test_without_root_the_lab_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert any("needs root" in reason for reason in requirements.why_not())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    (reason,) = [reason for reason in requirements.why_not() if "packages" in reason]
    assert "systemd-container" in reason


def test_up_lists_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lab.cluster.why_not", lambda: ["no fuse", "no root"])
    with pytest.raises(LabError, match="no fuse\n  no root"):
        Lab("never-up").up()
