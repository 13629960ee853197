"""A daemon that does not end in time ends itself, and says so."""

import subprocess
import sys
import threading
import time
from pathlib import Path

from ha.stop_limit import StopLimit

CODE = """
import logging, time
from ha.stop_limit import StopLimit
logging.basicConfig()
StopLimit(0.2).begin()
time.sleep(30)
"""


def test_nothing_happens_before_it_is_begun() -> None:
    ended = threading.Event()
    limit = StopLimit(0.01, end=ended.set)
    assert not ended.wait(0.1)
    limit.begin()
    limit.begin()
    assert ended.wait(5)


def test_the_process_ends_and_says_so() -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 1
    assert "has not ended within 0.2 s" in done.stderr
    assert time.monotonic() - began < 10
