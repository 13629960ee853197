"""Real parts for the tests of the monitor."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

NO_WATCHDOG_NO_PRIVILEGES = [
    *("-w", "0"),
    *("-l", "0"),
    *("-h", "0"),
    *("-U", "root"),
    *("-G", "root"),
]


@pytest.fixture(scope="session")
def sanlock_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A sanlock daemon of the tests' own, which this process and its children talk to."""
    if not shutil.which("sanlock"):
        pytest.skip("sanlock is not installed")
    # A socket's path has a limit of 108 bytes, which pytest's folders can exceed.
    run = Path(f"/tmp/sanlock-{time.monotonic_ns()}")
    run.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANLOCK_RUN_DIR", str(run))
        patch.setenv("SANLOCK_PRIVILEGED", "0")
        argv = ["sanlock", "daemon", "-D", *NO_WATCHDOG_NO_PRIVILEGES]
        log = tmp_path_factory.mktemp("sanlock") / "log"
        with log.open("w") as out:
            process = subprocess.Popen(argv, stdout=out, stderr=out)
        try:
            await_socket(process, run, log)
            yield
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(run)


def await_socket(process: "subprocess.Popen[bytes]", run: Path, log: Path) -> None:
    for _ in range(50):
        # That the socket is there does not say yet that somebody listens.
        with socket.socket(socket.AF_UNIX) as asking:
            if asking.connect_ex(str(run / "sanlock.sock")) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    pytest.skip(f"sanlock does not run here: {log.read_text()[-200:]}")
