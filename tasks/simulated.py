"""Hosts of a simulated cluster, behind the same seam as those over SSH.

Whoever serves the cluster (`python3 -m ha simulate --serve FOLDER`) has in its folder what stands
for / on each host, commands that ask the simulator, and a FIFO: its door. A command runs here,
with the host's commands found first and whole words that are paths translated.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ha.simulator.door.ask import ask_door, speed_of
from tasks.env import HostUnreachable, LostContact, NoAnswer, Ran
from tasks.inventory import ENGINE

# What a host has for itself, and what all hosts share, below /rhev.
OWN = (
    *("/etc/ovirt-hosted-engine", "/var/lib/", "/var/log/", "/var/run/", "/var/tmp/", "/run/"),
    "/rhev",
)
UNREACHABLE, HANGS = b"unreachable", b"hangs"
NOT_FOUND = 127


class SimulatedClock:
    """This machine's clocks, the flows' waits as much shorter as the cluster's time is faster."""

    def __init__(self, folder: Path) -> None:
        """Begin to count; `folder` is the served cluster's. Raises OSError if nobody serves it."""
        self._speed = speed_of(folder)

    def monotonic(self) -> float:
        """Return seconds that only grow, of the cluster's."""
        return time.monotonic() * self._speed

    def now(self) -> datetime:
        """Return the wall time, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait so many of the cluster's seconds."""
        time.sleep(seconds / self._speed)


class SimulatedShell:
    """One host's shell."""

    def __init__(self, folder: Path, host: str) -> None:
        """Prepare the shell; `folder` is the cluster's."""
        self._folder = folder.resolve()
        self._host = host
        self._root = self._folder / "machines" / host
        self._commands = self._folder / "bin" / (ENGINE if host == ENGINE else "host")

    @property
    def host(self) -> str:
        """Return the host's name in the inventory."""
        return self._host

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_seconds: float = 30.0
    ) -> Ran:
        """Run a command, each argument passed as it is; any exit code is returned.

        Raises: HostUnreachable, LostContact, NoAnswer.
        """
        said = self._entered(argv, timeout_seconds)
        if said == UNREACHABLE:
            raise HostUnreachable(
                f"{self._host} (simulated): no SSH connection; see that the host is up"
            )
        if said == HANGS:
            raise self._no_answer(argv, timeout_seconds)
        process = self._started([self._here(word) for word in argv])
        if process is None:
            return Ran(self._host, tuple(argv), NOT_FOUND, "", f"{argv[0]}: not found")
        try:
            out, err = process.communicate(stdin or b"", timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise self._no_answer(argv, timeout_seconds) from error
        if process.returncode == -signal.SIGKILL:
            raise LostContact(
                f"{self._host} (simulated): contact lost while `{' '.join(argv)[:120]}` ran;"
                " whether it ended is unknown"
            )
        return Ran(self._host, tuple(argv), process.returncode, self._there(out), self._there(err))

    def _entered(self, argv: Sequence[str], timeout_seconds: float) -> bytes:
        words = ["enter", self._host, str(timeout_seconds), *_short(argv)]
        try:
            return ask_door(self._folder, words)
        except OSError as error:
            raise HostUnreachable(
                f"{self._host} (simulated): nobody serves {self._folder} ({error}); start it with"
                f" python3 -m ha simulate --serve {self._folder}"
            ) from error

    def _started(self, words: list[str]) -> "subprocess.Popen[bytes] | None":
        environment = {
            **os.environ,
            "PATH": f"{self._commands}:/usr/sbin:/usr/bin:/sbin:/bin",
            "SIMULATED_BY": str(os.getpid()),
            "SIMULATED_FOLDER": str(self._folder),
            "SIMULATED_HOST": self._host,
            "SIMULATED_ROOT": str(self._root),
        }
        try:
            return subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except FileNotFoundError:
            return None

    def _here(self, word: str) -> str:
        return f"{self._root}{word}" if word.startswith(OWN) else word

    def _there(self, said: bytes) -> str:
        text = said.decode(errors="replace").replace(f"{self._folder}/shared", "")
        return text.replace(str(self._root), "")

    def _no_answer(self, argv: Sequence[str], timeout_seconds: float) -> NoAnswer:
        return NoAnswer(
            f"{self._host} (simulated): `{' '.join(argv)[:120]}` gave no end within"
            f" {timeout_seconds:.0f} s; it may still be running there"
        )


def _short(argv: Sequence[str]) -> list[str]:
    """Return the words that may be paths: a request must not be long, and scripts are."""
    return [word for word in argv if word.startswith("/")]
