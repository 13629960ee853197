"""What agent and broker keep in memory, each a process, after some turns."""

import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.daemons import fill, running, until, whiteboard_file
from tests.bench.table import Row
from tests.ha.deployed import HOST_ID

AIM = "25 MB"
_MIB = 1024


def measure(hosts: int = 3, seconds: float = 15.0) -> Iterator[Row]:
    """Yield a row for each process; turns are taken every second, and full reads every third."""
    with tempfile.TemporaryDirectory(prefix="he") as folder:
        root = Path(folder)
        file = fill(root, hosts)
        before = _own_block(file)
        with running(root, "broker", "agent") as processes:
            until(lambda: _own_block(whiteboard_file(root)) != before)
            time.sleep(seconds)
            bare = _memory(processes["bare"].pid)
            for name in ("agent", "broker"):
                yield Row(
                    f"memory of the {name}, {hosts} hosts",
                    f"{AIM} resident",
                    _memory(processes[name].pid),
                    bare,
                    f"/proc/PID/smaps_rollup after {seconds:.0f} s of a turn a second;"
                    " beside it: Python that does nothing",
                )


def _own_block(file: Path) -> bytes:
    return file.read_bytes()[HOST_ID * 4096 : (HOST_ID + 1) * 4096]


def _memory(pid: int) -> str:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {name: int(kib) / _MIB for name, kib in re.findall(r"^(\w+): +(\d+) kB", rollup, re.M)}
    return f"{found['Rss']:.1f} MB (PSS {found['Pss']:.1f}, own {found['Private_Dirty']:.1f})"
