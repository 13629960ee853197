"""The agent as a process: it ends when it is told to, whatever it waits for."""

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("libvirt", reason="libvirt's binding is missing")
pytest.importorskip("sanlock", reason="the distribution's sanlock binding is missing")

from ha.broker import BrokerService  # noqa: E402  (needs the bindings)
from ha.broker_server import BrokerServer  # noqa: E402
from ha.config import Paths  # noqa: E402
from tests.ha.broker_world import BrokerWorld  # noqa: E402
from tests.ha.deployed import HOST_ID, write_conf  # noqa: E402

PROJECT = Path(__file__).parents[2]
CODE = (
    "import sys; from pathlib import Path; from ha.config import Paths; "
    "from ha.daemon_log import set_up_log; from ha.daemons import serve_agent; "
    "paths = Paths(Path(sys.argv[1])); set_up_log(paths.logs / 'agent.log'); serve_agent(paths)"
)


@pytest.fixture
def world() -> BrokerWorld:
    return BrokerWorld()


@pytest.fixture
def root(world: BrokerWorld) -> Iterator[Path]:
    """A deployed host with a broker."""
    folder = Path(tempfile.mkdtemp(prefix="he"))
    write_conf(folder)
    service = BrokerService(world.env, HOST_ID, interval_seconds=3600)
    service.start()
    with BrokerServer(Paths(folder).broker_socket, service) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield folder
        server.shutdown()
    service.stop()
    world.lockspace.free.set()
    shutil.rmtree(folder)


def agent(root: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(root)], cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )


def end(process: "subprocess.Popen[str]", limit_seconds: float) -> str:
    """Tell it to stop and return its log; it must end in time, and well."""
    process.send_signal(signal.SIGTERM)
    try:
        _, logged = process.communicate(timeout=limit_seconds)
    finally:
        process.kill()
    assert process.returncode == 0, logged
    return logged


def wait_for_join(world: BrokerWorld) -> None:
    deadline = time.monotonic() + 10
    while not world.lockspace.joins:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_agent_whose_lease_takes_minutes_ends_at_once(root: Path, world: BrokerWorld) -> None:
    world.lockspace.free.clear()
    process = agent(root)
    wait_for_join(world)
    logged = end(process, 8)
    assert "The whiteboard does not say that this agent has stopped" in logged
    assert "Agent shutting down" in logged
    world.lockspace.free.set()
    time.sleep(0.2)
    assert world.lockspace.host_id is None  # given back when it came
    assert world.whiteboard.blocks == {}


def test_an_agent_that_holds_its_lease_says_farewell(root: Path, world: BrokerWorld) -> None:
    process = agent(root)
    wait_for_join(world)
    deadline = time.monotonic() + 10
    while HOST_ID not in world.whiteboard.blocks:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    end(process, 8)
    assert b"state=AgentStopped" in world.whiteboard.blocks[HOST_ID]
    assert world.lockspace.host_id is None
