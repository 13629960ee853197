"""A run is cancelled, by the command and as the UI does it: its remote step ends on the host."""

import getpass
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.journal import Entry, Kind, Phase
from tests.flows.conftest import Served, make_home, serving, wait_for
from tests.tasks.real_sshd import SSHD, running_sshd
from tests.tasks.step_helpers import wait_dead

pytestmark = pytest.mark.slow

INVENTORY = """
[clusters.lab.ssh]
user = "{user}"
key_file = "{where}/key"
known_hosts = "{where}/known_hosts"

[[clusters.lab.hosts]]
name = "h1"
address = "127.0.0.1"
port = {port}
host_id = 1
"""


@pytest.fixture(scope="module")
def with_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a served home whose one host is a real sshd of ours."""
    assert Path(SSHD).exists()
    folder = tmp_path_factory.mktemp("cancelled")
    home = make_home(folder / "home")
    home.environment["RUNBOOKS_STEP_STORE"] = str(folder / "steps")
    with running_sshd(folder) as sshd:
        text = INVENTORY.format(where=folder, port=sshd.port, user=getpass.getuser())
        (home.home / "inventory.toml").write_text(text)
        with serving(home):
            yield home


def at_work(served: Served) -> tuple[str, int]:
    """Start a run; return its id and the process group that is at work on the host."""
    run_id = served.start(served.folder(), remote_seconds=600)
    pid = Path(served.environment["RUNBOOKS_STEP_STORE"]) / f"{run_id}.send" / "pid"
    wait_for(lambda: served.state(run_id) == "Running" and pid.exists())
    return run_id, int(pid.read_text().split()[0])


def logged(served: Served, run_id: str) -> list[str]:
    wanted = {"logs": {"flow_run_id": {"any_": [run_id]}}}
    return [str(line["message"]) for line in served.api.post("/logs/filter", wanted)]


def lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def stopped(served: Served, run_id: str) -> Entry | None:
    return served.journal.find(run_id, Kind.REMOTE, "send@h1", Phase.OUTCOME)


@pytest.mark.parametrize("how", ["command", "ui"])
def test_the_remote_step_ends_and_the_way_back_is_told(with_host: Served, how: str) -> None:
    run_id, group = at_work(with_host)
    # What the host says is in the run's log while it is still at work.
    wait_for(lambda: "h1 send: begun" in logged(with_host, run_id))
    if how == "command":
        ended = with_host.runbook("cancel", run_id)
        assert ended.returncode == 0, ended.stderr
        assert "h1: send@h1: stopped, as the run was cancelled" in ended.stderr
        assert "Left behind:" in ended.stderr
    else:
        with_host.api.set_state(run_id, "CANCELLING", "Cancelling", "asked for in the UI")
    wait_for(lambda: with_host.ended_as(run_id) == "cancelled")
    assert with_host.state(run_id) == "Cancelled"
    wait_dead(group)
    wait_for(lambda: not lives(group))  # the rest of the group is reaped by others
    outcome = stopped(with_host, run_id)
    assert outcome is not None
    assert outcome.payload["how"] == "stopped"
    note = with_host.journal.find(run_id, Kind.RUN, "way_back", Phase.NOTE)
    assert note is not None
    # Nothing keeps the next run out.
    second = with_host.start(with_host.folder())
    wait_for(lambda: with_host.ended_as(second) == "completed")


def test_a_run_that_waits_at_its_gate_is_cancelled_at_once(with_host: Served) -> None:
    run_id = with_host.start(with_host.folder(), expires_seconds=600)
    wait_for(lambda: with_host.state(run_id) == "Suspended")
    assert with_host.runbook("cancel", run_id).returncode == 0
    wait_for(lambda: with_host.ended_as(run_id) == "cancelled")
    assert stopped(with_host, run_id) is None
    ended = with_host.runbook("approve", run_id, "--reason", "too late", "--as", "ann")
    assert ended.returncode != 0
