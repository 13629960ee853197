"""`make bench`, or `python -m tests.bench [NAME ...]`: measure, and print a table.

Nothing here passes or fails: what was reached, on which machine, is in docs/performance.md.
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator

from tests.bench import event, fault_runs, memory, status, whiteboard
from tests.bench.table import Row, table

BENCHMARKS: dict[str, Callable[[], Iterator[Row]]] = {
    "whiteboard": whiteboard.measure,
    "memory": memory.measure,
    "status": status.measure,
    "event": event.measure,
    "fault-runs": fault_runs.measure,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="NAME")
    names = parser.parse_args(arguments).names or list(BENCHMARKS)
    rows = []
    for name in names:
        sys.stderr.write(f"{name} ...\n")
        rows += BENCHMARKS[name]()
    sys.stdout.write(f"{_machine()}\n\n{table(rows)}\n")
    return 0


def _machine() -> str:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{os.cpu_count()} processors, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}; load over 1, 5 and 15 minutes: {load}"
    )


if __name__ == "__main__":
    sys.exit(main())
