"""The broker as a process: real storage, real sanlock, a libvirt that is not there."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sanlock", reason="the distribution's sanlock binding is missing")
pytest.importorskip("libvirt", reason="libvirt's binding is missing")

from ha.config import HostedEngineConf, Paths  # noqa: E402  (needs the bindings)
from ha.core.record import Record, encode_record, judge_block  # noqa: E402
from ha.daemons import network_probe  # noqa: E402
from ha.env.lockspace import initialise_lockspace  # noqa: E402
from ha.env.ports import BrokerError, BrokerUnreachable  # noqa: E402
from ha.rpc import BrokerLink  # noqa: E402
from tests.ha.deployed import uuid, write_conf  # noqa: E402
from tests.ha.fakes import settings_for  # noqa: E402

MIB = 1024 * 1024
CODE = "import sys; from pathlib import Path; from ha.config import Paths; " + (
    "from ha.daemons import serve_broker; serve_broker(Paths(Path(sys.argv[1])))"
)


@pytest.fixture
def root() -> Iterator[Path]:
    """A deployed host below a short path, with files in place of a block domain's devices."""
    folder = Path(tempfile.mkdtemp(prefix="he"))
    devices = folder / "dev" / uuid(2)
    devices.mkdir(parents=True)
    for name in ("metadata", "ids", "leases", uuid(4), uuid(6), uuid(8), uuid(10)):
        with (devices / name).open("wb") as file:
            file.truncate(9 * MIB)
    initialise_lockspace("hosted-engine", devices / uuid(6), io_timeout_seconds=1)
    initialise_lockspace(uuid(2), devices / "ids", io_timeout_seconds=1)
    write_conf(folder)
    agent_conf = Paths(folder).agent_conf
    agent_conf.parent.mkdir(parents=True, exist_ok=True)
    agent_conf.write_text("[timing]\nio_timeout_seconds=1\n")
    Paths(folder).state.mkdir(parents=True)
    Paths(folder).broker_conf.write_text(f"[metrics]\nlisten=127.0.0.1:{free_port()}\n")
    yield folder
    shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def scraped(root: Path) -> str:
    address = Paths(root).broker_conf.read_text().partition("listen=")[2].strip()
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as answer:
        text: str = answer.read().decode()
        return text


@pytest.fixture
def broker(root: Path, sanlock_daemon: None) -> Iterator["subprocess.Popen[bytes]"]:
    argv = [sys.executable, "-c", CODE, str(root)]
    project = Path(__file__).parents[2]
    with subprocess.Popen(argv, cwd=project) as process:
        wait_for(Paths(root).broker_socket, process)
        yield process
        process.kill()


def lease_age_seconds(root: Path) -> float:
    """Wait for it: sanlock sees its own lease at the first renewal."""
    deadline = time.monotonic() + 30
    while not (
        age := re.search(r'lease_age_seconds{lockspace="whiteboard"} ([0-9.]+)\n', scraped(root))
    ):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return float(age[1])


def wait_for(path: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lock(link: BrokerLink) -> None:
    deadline = time.monotonic() + 30
    while not link.host_id_locked():
        assert time.monotonic() < deadline
        try:
            link.lock_host_id()
        except BrokerError as refusal:
            if refusal.kind != "joining":
                raise


def test_a_broker_lives(root: Path, broker: "subprocess.Popen[bytes]") -> None:
    paths = Paths(root)
    link = BrokerLink(paths.broker_socket)
    block = encode_record(Record(3, 42, 3400, "{}", "h3", maintenance=False, stopped=False))
    with pytest.raises(BrokerError, match="not_locked"):
        link.write_block(block)
    lock(link)
    assert link.host_id_locked()
    link.write_block(block)
    link.set_global_maintenance(True)
    found = link.read_blocks(None)
    assert found[3] == block
    assert judge_block(0, found[0]).record is not None
    # Another reader sees the same on the storage itself.
    raw = (root / "dev" / uuid(2) / uuid(4)).read_bytes()
    assert raw[3 * 4096 : 4 * 4096] == block
    assert raw.startswith(b"maintenance=1\0")

    values = link.monitors()
    health = values["engine-health"]
    assert isinstance(health, dict)
    assert health["vm"] == "unknown"  # no libvirt here: a value, not a crash
    assert (values["network"], values["bridge"], values["storage-domain"]) == (1.0, False, True)

    metrics = scraped(root)
    assert 'hosted_engine_lease_held{lockspace="whiteboard"} 1.0\n' in metrics
    assert lease_age_seconds(root) < 80  # sanlock would have given the lease up
    assert 'hosted_engine_storage_seconds_count{operation="write"} 2.0\n' in metrics

    link.release_host_id()
    broker.send_signal(signal.SIGTERM)
    assert broker.wait(10) == 0
    assert not paths.broker_socket.exists()
    with pytest.raises(BrokerUnreachable):
        link.monitors()


def test_a_host_with_another_io_timeout_gets_no_host_id(
    root: Path, sanlock_daemon: None, request: pytest.FixtureRequest
) -> None:
    Paths(root).agent_conf.write_text("[timing]\nio_timeout_seconds=2\n")
    request.getfixturevalue("broker")
    with pytest.raises(BrokerError, match="an io_timeout of 1 s .* io_timeout_seconds=2") as told:
        lock(BrokerLink(Paths(root).broker_socket))
    assert told.value.kind == "failed"


def test_a_killed_broker_leaves_nothing_in_the_way(
    root: Path, broker: "subprocess.Popen[bytes]"
) -> None:
    broker.kill()
    broker.wait()
    path = Paths(root).broker_socket
    assert path.exists()
    argv = [sys.executable, "-c", CODE, str(root)]
    with subprocess.Popen(argv, cwd=Path(__file__).parents[2]) as second:
        deadline = time.monotonic() + 10
        while True:
            try:
                assert BrokerLink(path, 1).read_blocks([1]) == {}
                break
            except BrokerUnreachable:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        second.terminate()


def conf_with(root: Path, **changes: object) -> HostedEngineConf:
    values = {name: getattr(settings_for(root).host, name) for name in HostedEngineConf.__slots__}
    return HostedEngineConf(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"network_test": "none"}, "always"),
        ({"network_test": "dns"}, "dns"),
        ({"network_test": "tcp", "tcp_t_address": "a", "tcp_t_port": 7}, "tcp.*'a', 7"),
        ({"network_test": "ping", "gateway": "192.0.2.1"}, "ping.*'192.0.2.1'"),
    ],
)
def test_the_network_test_is_the_one_configured(
    tmp_path: Path, changes: dict[str, object], shown: str
) -> None:
    assert re.search(shown, repr(network_probe(conf_with(tmp_path, **changes))))


def test_monitor_commands_without_bindings_need_none() -> None:
    """replay and whiteboard show run on a control node, where libvirt and sanlock are not."""
    code = (
        "import sys; sys.modules['libvirt'] = sys.modules['sanlock'] = None; "
        "from ha.__main__ import main; sys.exit(main(['whiteboard', 'show', '/dev/null']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0
