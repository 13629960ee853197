"""A real Prefect server on a free port, with a home of its own, once a test session."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flows.api import Api, connect
from flows.children import marked
from flows.server import NoServer, Place, ServerRecord, read_record, serving_pid
from tasks.journal import Journal, Kind, Phase

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).parent / "sample"
RUNBOOK = "metadata-too-new"

INVENTORY = """
[clusters.lab.ssh]
key_file = "{home}/key"
known_hosts = "{home}/known_hosts"

[[clusters.lab.hosts]]
name = "h1"
address = "127.0.0.1"
host_id = 1
"""


def wait_for(what: Callable[[], Any], limit_seconds: float = 60.0) -> Any:
    """Return the first true value of a question, asked for a bounded time."""
    deadline = time.monotonic() + limit_seconds
    while not (value := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
    return value


@dataclass(slots=True)
class Served:
    """A home that is served."""

    home: Path
    folders: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return Place(self.home)

    @property
    def api(self) -> Api:
        return connect(self.place)

    @property
    def journal(self) -> Journal:
        return Journal(f"sqlite:///{self.home / 'journal.db'}")

    def record(self) -> ServerRecord:
        return read_record(self.place)

    def ready(self) -> bool:
        try:
            return serving_pid(self.place) is not None and self.record().ready
        except NoServer:
            return False

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "flows.cli", *words]

    def runbook(self, *words: str, limit_seconds: float = 90.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_seconds,
            check=False,
        )

    def json(self, *words: str, exit_code: int = 0) -> Any:
        ended = self.runbook(*words, "--json")
        assert ended.returncode == exit_code, ended.stderr
        return json.loads(ended.stdout)

    def folder(self) -> Path:
        self.folders += 1
        folder = self.home / f"run-{self.folders}"
        folder.mkdir()
        return folder

    def start(self, folder: Path, **parameters: object) -> str:
        """Start the sample and return the run's id."""
        words = [f"--param={key}={value}" for key, value in parameters.items()]
        started = self.json(
            *("run", RUNBOOK, "--cluster", "lab", "--detach", "--approver", "ann"),
            *(f"--param=folder={folder}", *words),
        )
        return str(started["run"]["id"])

    def state(self, run_id: str) -> str:
        return str(self.api.get(f"/flow_runs/{run_id}")["state_name"])

    def engines(self, run_id: str) -> list[int]:
        """Return the processes that execute a run."""
        return [
            pid
            for pid in marked(f"runner:{self.home}")
            if f"PREFECT__FLOW_RUN_ID={run_id}".encode()
            in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        ]

    def folder_of(self, run_id: str) -> Path:
        return Path(str(self.api.get(f"/flow_runs/{run_id}")["parameters"]["folder"]))

    def attempts(self, run_id: str) -> int:
        return self.journal.run(run_id).attempt

    def ended_as(self, run_id: str) -> str | None:
        ends = [
            entry.payload["as"]
            for entry in self.journal.entries(run_id)
            if entry.kind is Kind.RUN and entry.phase is Phase.ENDED
        ]
        return str(ends[-1]) if ends else None


def executions(folder: Path) -> list[str]:
    """Return the names of the steps that were executed, in order."""
    file = folder / "executions"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def waiting(served: Served, expires_seconds: int = 600) -> tuple[str, list[str]]:
    """Start the sample; return the run's id and what it did, once it waits at its gate."""
    folder = served.folder()
    run_id = served.start(folder, expires_seconds=expires_seconds)
    wait_for(lambda: served.state(run_id) == "Suspended")
    return run_id, executions(folder)


def make_home(home: Path) -> Served:
    home.mkdir(mode=0o700)
    (home / "key").touch()
    (home / "known_hosts").touch()
    (home / "inventory.toml").write_text(INVENTORY.format(home=home))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "RUNBOOKS_"))}
    paths = f"{ROOT}:{SAMPLE}"
    return Served(home, environment={**kept, "RUNBOOKS_HOME": str(home), "PYTHONPATH": paths})


@contextmanager
def serving(home: Served, verb: str = "serve") -> Iterator[subprocess.Popen[bytes]]:
    """Serve the sample flow under the id of a runbook, by a runner or by a work pool."""
    log = home.home / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(SAMPLE / "serve_sample.py"), verb, str(home.home)],
            env=home.environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        wait_for(lambda: home.ready() or process.poll() is not None, 180.0)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a home that is served for the whole session."""
    home = make_home(tmp_path_factory.mktemp("served") / "home")
    with serving(home):
        yield home
