"""`runbook serve`: in the foreground, detached, and stopped again."""

import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from flows.children import tail
from flows.cli_output import tell
from flows.environment import worker_environment
from flows.server import (
    NoServer,
    Place,
    ServeRefused,
    ServerRecord,
    make_place,
    read_record,
    serving_pid,
)
from flows.supervisor import RUNNER_ARGV, START_LIMIT_SECONDS, ServeFailed, Supervisor

STOP_LIMIT_SECONDS = 60.0
WORKER_ARGV = (sys.executable, "-m", "flows.worker")


def serve_here(home: Path, port: int, pool: str | None = None) -> None:
    """Serve in the foreground until Ctrl-C or SIGTERM; runs are executed here, or by a work pool.

    Raises ServeRefused, ServeFailed.
    """
    place = make_place(home)
    runner = RUNNER_ARGV if pool is None else (*WORKER_ARGV, pool)
    Supervisor(place, port, say, runner).run()


def work_here(home: Path, pool: str, url: str, credentials: Path) -> None:
    """Become a worker of another machine's server, until killed.  Raises ServeRefused.

    The runs of all workers must share the journal: RUNBOOKS_JOURNAL_URL names it.
    """
    place = make_place(home)
    argv = (*WORKER_ARGV, pool)
    os.execve(argv[0], argv, worker_environment(place, url, credentials))


def say(line: str) -> None:
    tell(f"{datetime.now().astimezone():%H:%M:%S} {line}")


def serve_detached(home: Path, port: int, pool: str | None = None) -> ServerRecord:
    """Serve in a process of its own; return where, once it is ready.

    Raises ServeRefused, ServeFailed.
    """
    place = make_place(home)
    if (pid := serving_pid(place)) is not None:
        raise ServeRefused(
            f"{place.home} is served already by process {pid}; stop it with `runbook serve --stop`"
        )
    place.record.unlink(missing_ok=True)
    log = place.logs / "supervisor.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "flows.cli", "serve", "--port", str(port)),
                *(("--work-pool", pool) if pool else ()),
            ],
            env={**os.environ, "RUNBOOKS_HOME": str(place.home)},
            cwd=place.home,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return await_ready(place, process, log)


def await_ready(place: Place, process: subprocess.Popen[bytes], log: Path) -> ServerRecord:
    """Wait until the supervisor says that it is ready, showing what it says meanwhile."""
    deadline = time.monotonic() + START_LIMIT_SECONDS + 10
    shown = 0
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        if len(text) > shown:
            tell(text[shown:].rstrip("\n"))
            shown = len(text)
        if process.poll() is not None:
            raise ServeFailed(f"it ended at once (exit code {process.returncode}): see above")
        try:
            record = read_record(place)
        except NoServer:
            record = None
        if record is not None and record.ready:
            return record
        time.sleep(0.3)
    process.terminate()
    raise ServeFailed(f"not ready in time; the end of {log}:\n{tail(log)}")


def stop_serving(home: Path) -> bool:
    """Stop the process that serves a home; tell whether there was one.  Raises ServeRefused."""
    place = Place(home.absolute())
    pid = serving_pid(place)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT_SECONDS
    while serving_pid(place) is not None:
        if time.monotonic() >= deadline:
            raise ServeRefused(f"process {pid} does not stop; see {place.logs}, or kill it by hand")
        time.sleep(0.2)
    return True
