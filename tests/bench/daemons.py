"""A deployed host below a folder of its own: agent and broker as processes, as on a host.

Storage is a file, libvirt its test driver; sanlock is left out, as it would need its daemon. All
that the product would import on a host is imported. `python -m tests.bench.daemons NAME ROOT`
is one.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ha import daemons
from ha.config import Paths
from ha.core.record import RANGE_BYTES, encode_global
from ha.core.vm_lease import FREE_LEASE, VmLease
from ha.daemon_log import set_up_log
from ha.env.engine_vm import LibvirtEngineVm
from ha.env.ports import BrokerEnv
from ha.env.probes import HostProbes
from ha.env.whiteboard import StorageWhiteboard
from tests.bench.whiteboard import block_of
from tests.ha.deployed import write_conf

PROJECT = Path(__file__).parents[2]
READY_SECONDS = 60.0
BARE = "import time; time.sleep(3600)"


class Joined:
    """A lockspace in which this host is."""

    def join(self, host_id: int) -> None:
        """Be in it."""

    def leave(self, host_id: int) -> None:
        """Be in it none the less."""

    def held(self, host_id: int) -> bool:
        return True

    def holders(self) -> tuple[()]:
        return ()


class Free:
    """A lease that nobody holds."""

    def look(self) -> VmLease:
        return FREE_LEASE


def fill(root: Path, hosts: int) -> Path:
    """Write the configuration of a host and a whiteboard; return the whiteboard's file."""
    write_conf(root)
    paths = Paths(root)
    paths.agent_conf.parent.mkdir(parents=True, exist_ok=True)
    paths.agent_conf.write_text(
        "[timing]\nloop_seconds=1\nfull_read_seconds=3\nhost_alive_seconds=3\n"
    )
    for folder in (paths.run, paths.logs, paths.state):
        folder.mkdir(parents=True, exist_ok=True)
    paths.vm_conf.write_text("memSize=512\n")
    file = whiteboard_file(root)
    blocks = [encode_global(False), *(block_of(number, 100) for number in range(1, hosts + 1))]
    file.write_bytes(b"".join(blocks).ljust(RANGE_BYTES, b"\0"))
    return file


def whiteboard_file(root: Path) -> Path:
    return root / "hosted-engine.metadata"


@contextmanager
def running(root: Path, *names: str) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """Run daemons of this host, and one that does nothing, called `bare`."""
    argvs = {name: [sys.executable, "-m", "tests.bench.daemons", name, str(root)] for name in names}
    argvs["bare"] = [sys.executable, "-c", BARE]
    with tempfile.TemporaryFile() as said:
        processes = {}
        try:
            for name, argv in argvs.items():
                processes[name] = subprocess.Popen(argv, cwd=PROJECT, stdout=said, stderr=said)
                if name == "broker":
                    until(Paths(root).broker_socket.exists)
            yield processes
        finally:
            for process in processes.values():
                process.terminate()
            for process in processes.values():
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds. Raises TimeoutError."""
    deadline = time.monotonic() + READY_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("a daemon is not ready")
        time.sleep(0.05)


def _broker_env(root: Path, settings: daemons.Settings, notifier: daemons.Notifier) -> BrokerEnv:
    clock = daemons.HostClock()
    host = settings.host
    whiteboard = StorageWhiteboard(whiteboard_file(root))
    return BrokerEnv(
        clock=clock,
        threads=daemons.HostThreads(),
        whiteboard=whiteboard,
        lockspace=Joined(),
        vm_lockspace=Joined(),
        vm_lease=Free(),
        engine_vm=LibvirtEngineVm("test:///default"),
        probes=HostProbes(
            daemons.network_probe(host),
            "lo",
            host.fqdn,
            monotonic=clock.monotonic,
            pause=clock.sleep,
        ),
        notifier=notifier,
        read_domain=lambda: whiteboard.read_blocks([0]),
    )


def main(name: str, root: Path) -> None:
    """Be one of the two."""
    paths = Paths(root)
    set_up_log(paths.logs / f"{name}.log")
    if name == "broker":
        daemons.broker_env = lambda settings, notifier: _broker_env(root, settings, notifier)
        daemons.serve_broker(paths)
    else:
        daemons.LibvirtEngineVm = lambda: LibvirtEngineVm("test:///default")  # type: ignore[misc,assignment]
        daemons.serve_agent(paths)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
