"""`runbook plan` and `runbook paper`, without a server and with hosts that do not answer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbooks.catalogue import catalogue
from tests.tasks.real_sshd import free_port

ROOT = Path(__file__).resolve().parents[2]
ENTRY = catalogue()["metadata-too-new"]
INVENTORY = """
[clusters.lab.ssh]
key_file = "{home}/key"
known_hosts = "{home}/known_hosts"

[[clusters.lab.hosts]]
name = "h1"
address = "127.0.0.1"
port = {port}
host_id = 1
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("key", "known_hosts"):
        (tmp_path / name).touch()
    (tmp_path / "inventory.toml").write_text(INVENTORY.format(home=tmp_path, port=free_port()))
    return tmp_path


def runbook(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "RUNBOOKS_"))}
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *words],
        env={**kept, "RUNBOOKS_HOME": str(home), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_plan_that_is_refused_says_why_and_ends_with_2(home: Path) -> None:
    ended = runbook(home, "plan", ENTRY.id, "--cluster", "lab")
    assert ended.returncode == 2, ended.stderr
    assert "REFUSED: require_hosts_ready: CheckRefused: h1: cannot be reached" in ended.stdout
    assert "write_zeros: not reached" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 100


def test_a_plan_is_data_for_programs(home: Path) -> None:
    ended = runbook(home, "plan", ENTRY.id, "--cluster", "lab", "--json")
    assert ended.returncode == 2, ended.stderr
    told = json.loads(ended.stdout)
    assert [part["task"] for part in told["parts"]] == list(ENTRY.names)
    assert told["parts"][0]["state"] == "refused"
    assert told["findings"]


def test_a_plan_takes_only_what_the_runbook_takes(home: Path) -> None:
    ended = runbook(home, "plan", ENTRY.id, "--cluster", "lab", "--param", "canari=h1")
    assert ended.returncode == 2
    assert "no parameter 'canari'; there are: cluster, canary" in ended.stderr
    ended = runbook(home, "plan", ENTRY.id, "--cluster", "nowhere")
    assert ended.returncode == 1
    assert "nowhere" in ended.stderr


@pytest.mark.parametrize("options", [(), ("--offline",)])
def test_the_paper_needs_no_host(home: Path, options: tuple[str, ...]) -> None:
    ended = runbook(home, "paper", ENTRY.id, "--cluster", "lab", *options)
    assert ended.returncode == 0, ended.stderr
    for part in ENTRY.procedure:
        assert f". {part.name}** (" in ended.stdout
        for command in part.commands if part.kind.value == "step" else ():
            assert f"`{command}`" in ended.stdout
    assert ended.stdout.count("Decided by: ____") == len(ENTRY.gates)
    assert "- h1: 127.0.0.1, host id 1" in ended.stdout
    assert f"- [ ] {ENTRY.on_failure.way_back[0]}" in ended.stdout
    assert ("**Refused:** require_hosts_ready" in ended.stdout) == (not options)
