"""How long `hosted-engine --vm-status` takes, the start of Python included."""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.daemons import PROJECT, fill, running
from tests.bench.table import Row

COMMAND = (
    "import sys; from pathlib import Path; from ha.config import Paths;"
    " import ha.cli.__main__ as command; root = Path(sys.argv.pop(1));"
    " command.Paths = lambda: Paths(root); sys.exit(command.main())"
)
MS = 1000


def measure(hosts: tuple[int, ...] = (3, 250), runs: int = 15) -> Iterator[Row]:
    """Yield a row for each number of hosts; a real broker answers."""
    for count in hosts:
        with tempfile.TemporaryDirectory(prefix="he") as folder:
            root = Path(folder)
            fill(root, count)
            with running(root, "broker"):
                yield _row(root, count, runs)


def _row(root: Path, count: int, runs: int) -> Row:
    argv = [sys.executable, "-P", "-c", COMMAND, str(root), "--vm-status"]
    taken, bare = [], []
    for _ in range(runs):
        taken.append(run(argv))
        bare.append(run([sys.executable, "-c", "pass"]))
    return Row(
        f"--vm-status, {count} hosts",
        "150 ms",
        shown(taken),
        shown(bare),
        f"median of {runs} (least), and processor time; beside it: Python that does nothing",
    )


def run(argv: Sequence[str]) -> tuple[float, float]:
    """Run a command; return seconds on the wall and of processor time."""
    began = time.monotonic()
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    pid = os.posix_spawn(argv[0], argv, environment, file_actions=silent)
    _, status, used = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"{argv} ended with {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - began, used.ru_utime + used.ru_stime


def shown(taken: Sequence[tuple[float, float]]) -> str:
    wall, processor = (sorted(each) for each in zip(*taken, strict=True))
    return (
        f"{statistics.median(wall) * MS:.0f} ms ({wall[0] * MS:.0f}),"
        f" processor {statistics.median(processor) * MS:.0f} ms"
    )
