"""`make demo` where no lab can run: the same, on simulated hosts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import demo
from tests.lab.demo_console import Console

ROOT = Path(__file__).parents[2]
WITHIN_SECONDS = 600


def verb(name: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run a verb of the demo on simulated hosts, with a folder of its own for all that it keeps."""
    given = {"DEMO_SIMULATED": "yes", "DEMO_APPROVE": "yes", "XDG_CACHE_HOME": str(cache)}
    return subprocess.run(
        [sys.executable, "-m", "tests.lab.demo", name],
        cwd=ROOT,
        env={**os.environ, **given},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN_SECONDS,
        check=False,
    )


@pytest.mark.slow
def test_where_no_lab_can_run_the_hosts_are_simulated_and_it_says_so_first(tmp_path: Path) -> None:
    try:
        played = verb("up", tmp_path)
    finally:
        taken_down = verb("down", tmp_path)
    assert played.returncode == 0, played.stdout
    assert played.stdout.startswith("SIMULATED: no host is booted here"), played.stdout
    for said in (
        "Metadata version 2 from host 52 too new for this agent",
        "approving gate approve_write",
        "Prefect UI: http://127.0.0.1:",
        "the whiteboard has no bad block",
        "never did two engine VMs run",
        "ended: completed",
    ):
        assert said in played.stdout
    assert taken_down.returncode == 0, taken_down.stdout


def test_without_root_the_reasons_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "why_not", lambda: ["the lab needs root"])
    monkeypatch.setattr(demo, "UNATTENDED", False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert demo.up(Console()) == 2
    said = capsys.readouterr().out
    assert said.startswith("SIMULATED")
    assert "the lab needs root" in said
