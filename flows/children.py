"""One supervised child process: started in a session of its own, restarted with a backoff."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NewType

MARK = "RUNBOOKS_CHILD"
BACKOFF_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_SECONDS = 60.0  # a child that lived this long starts its backoff anew
WallTime = NewType("WallTime", float)
LOG_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Child:
    """A program that has to run for as long as the supervisor does."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    home: Path
    pause_seconds_max: float = BACKOFF_SECONDS[-1]
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    starts: int = 0
    started_at: float = 0.0
    started_wall: WallTime = WallTime(0.0)
    due_at: float = 0.0

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def mark(self) -> str:
        return f"{self.name}:{self.home}"

    def alive(self) -> bool:
        """Tell whether it runs; note the death of one that does not any more."""
        if self.process is None:
            return False
        if self.process.poll() is None:
            return True
        now = time.monotonic()
        self.deaths = 0 if now - self.started_at > STEADY_SECONDS else self.deaths + 1
        pause_seconds = BACKOFF_SECONDS[min(self.deaths, len(BACKOFF_SECONDS) - 1)]
        self.due_at = now + min(pause_seconds, self.pause_seconds_max)
        self.process = None
        return False

    def due(self) -> bool:
        return time.monotonic() >= self.due_at

    def start(self) -> None:
        """Start it; whatever an earlier one left running is ended first."""
        end_leftovers(self.mark)
        bound_log(self.log)
        with self.log.open("ab") as log:
            # setpriv: the child is told when the supervisor dies, even by kill -9.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self.argv],
                env={**self.environment, MARK: self.mark},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started_at, self.started_wall = time.monotonic(), WallTime(time.time())
        self.starts += 1

    def stop(self, limit_seconds: float) -> None:
        """End it: politely first, by force after the limit; then all that it started."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(limit_seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        end_leftovers(self.mark)

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        end_leftovers(self.mark)
        self.due_at = 0.0


def marked(mark: str) -> list[int]:
    """Return the processes that carry a mark in their environment, this one left out."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile, or another user's
            continue
        if wanted in variables:
            found.append(int(entry.name))
    return found


def end_leftovers(mark: str, limit_seconds: float = 10.0) -> None:
    """Kill what carries the mark and wait until it is gone.

    An attempt of a run that outlived its runner must not go on beside the next attempt.
    """
    deadline = time.monotonic() + limit_seconds
    while left := marked(mark):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() >= deadline:
            raise TimeoutError(f"processes {left} do not end although they were killed")
        time.sleep(0.05)


def bound_log(log: Path) -> None:
    """Keep a log and its predecessor, each of a bounded size."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)


def tail(log: Path, lines: int = 12) -> str:
    """Return the last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16384))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
