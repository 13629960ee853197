"""`runbook worker`: a worker with a home of its own executes the runs of another home's server."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.flows.conftest import Served, make_home, wait_for

pytestmark = pytest.mark.slow
POOL = "elsewhere"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """A home that serves the catalogue, whose own worker stands still and takes no run."""
    home = make_home(tmp_path / "server")
    log = home.home / "serve.log"
    with log.open("wb") as file:
        argv = home.command("serve", "--port=0", f"--work-pool={POOL}")
        process = subprocess.Popen(argv, env=home.environment, stdout=file, stderr=file)
    try:
        wait_for(lambda: home.ready() or process.poll() is not None, 180.0)
        assert process.poll() is None, log.read_text()
        worker = home.record().runner_pid
        assert worker
        os.killpg(worker, signal.SIGSTOP)
        try:
            yield home
        finally:
            os.killpg(worker, signal.SIGCONT)
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def working_for(server: Served, home: Served) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker of that server in another home; the journal is the server's."""
    url = f"http://127.0.0.1:{server.record().port}/api"
    shared = {"RUNBOOKS_JOURNAL_URL": f"sqlite:///{server.home / 'journal.db'}"}
    with (home.home / "worker.log").open("wb") as file:
        words = (f"--work-pool={POOL}", f"--url={url}", f"--credentials={server.place.credentials}")
        process = subprocess.Popen(
            home.command("worker", *words),
            env={**home.environment, **shared},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def test_it_executes_the_runs_and_leaves_the_sweep_to_the_server(
    server: Served, tmp_path: Path
) -> None:
    started = server.json(
        *("run", "enter-global-maintenance", "--cluster=lab", "--param=reason=a test", "--detach")
    )
    run_id = str(started["run"]["id"])
    elsewhere = make_home(tmp_path / "elsewhere")
    with working_for(server, elsewhere) as worker:
        # No host answers here; that the preflight says so is written by who executes the run.
        wait_for(lambda: server.state(run_id) == "Failed")
        assert server.ended_as(run_id) == "failed"
        assert worker.poll() is None
    said = (elsewhere.home / "worker.log").read_text()
    assert run_id in said
    assert "sweep:" not in said


def test_without_the_servers_credentials_it_says_what_to_copy(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    ended = home.runbook(
        *("worker", f"--work-pool={POOL}", "--url=http://127.0.0.1:9/api"),
        f"--credentials={tmp_path / 'none'}",
    )
    assert ended.returncode == 1
    assert "copy `credentials` from the home of the server, mode 0600" in ended.stderr
