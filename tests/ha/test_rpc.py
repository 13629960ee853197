"""The socket under bad input and trouble; what the methods do is in test_broker."""

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ha.broker_server import BrokerServer
from ha.env.ports import BrokerError, BrokerSilent, BrokerUnreachable
from ha.rpc import BrokerLink
from tests.ha.fakes import FakeBroker


@pytest.fixture
def path() -> Iterator[Path]:
    # A socket's path has a limit of 108 bytes, which pytest's folders can exceed.
    folder = Path(tempfile.mkdtemp(prefix="he"))
    yield folder / "socket"
    shutil.rmtree(folder)


@pytest.fixture
def served(path: Path) -> Iterator[Path]:
    with BrokerServer(path, FakeBroker()) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield path
        server.shutdown()


def ask(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"".join(line + b"\n" for line in lines))
        with connection.makefile("rb") as answers:
            return [json.loads(answers.readline()) for _ in lines]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'{"method": 1}',
        b'{"method": "monitors", "params": []}',
        b'{"method": "__class__"}',
        b'{"method": "read_blocks"}',
        b'{"method": "read_blocks", "params": {"host_ids": [true]}}',
        b'{"method": "read_blocks", "params": {"host_ids": ["1"]}}',
        b'{"method": "write_block", "params": {"block": "!"}}',
        b'{"method": "write_block", "params": {"block": "AAAA"}}',
        b'{"method": "set_global_maintenance", "params": {"on": "yes"}}',
        b'{"method": "notify", "params": {"event": "x"}}',
        b'{"method": "watch_engine", "params": {"host_id": "2", "mark": "", "seconds": 1}}',
        b'{"method": "watch_engine", "params": {"host_id": 2, "mark": null, "seconds": 1}}',
        b'{"method": "watch_engine", "params": {"host_id": 2, "mark": "", "seconds": "1"}}',
        b'{"method": "watch_engine", "params": {"host_id": 2, "mark": ""}}',
        b'{"method": "notify", "params": {"event": "x", "detail": "y", "since": "now"}}',
        b'{"method": "notify", "params": {"event": "x", "detail": "y", "since": true}}',
    ],
)
def test_a_bad_request_is_answered_and_the_next_is_served(served: Path, line: bytes) -> None:
    bad, good = ask(served, line, b'{"method": "host_id_locked"}')
    assert bad["error"]["kind"] == "bad_request"
    assert good == {"result": False}


def test_a_client_that_does_not_wait_disturbs_nobody(served: Path) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(served))
        connection.sendall(b'{"method": "monitors"}\n')
    assert BrokerLink(served).host_id_locked() is False


def test_a_client_that_says_nothing_disturbs_nobody(served: Path) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(served))
        assert BrokerLink(served).host_id_locked() is False


def test_no_broker_is_unreachable(path: Path) -> None:
    with pytest.raises(BrokerUnreachable, match="socket: monitors: ") as raised:
        BrokerLink(path).monitors()
    assert not isinstance(raised.value, BrokerSilent)  # it was not asked


def test_a_broker_that_hangs_is_unreachable(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(BrokerSilent, match="no answer in 0.1 s"):
            BrokerLink(path, 0.1).monitors()


def test_a_broker_that_hangs_up_is_unreachable(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as rude:
        rude.bind(str(path))
        rude.listen()

        def hang_up() -> None:
            connection, _ = rude.accept()
            connection.close()

        threading.Thread(target=hang_up).start()
        with pytest.raises(BrokerSilent):
            BrokerLink(path, 5).monitors()


def test_the_socket_of_a_dead_broker_is_replaced(path: Path) -> None:
    BrokerServer(path, FakeBroker()).server_close()
    assert path.exists()
    BrokerServer(path, FakeBroker()).server_close()


def test_a_second_broker_is_refused(served: Path) -> None:
    with pytest.raises(BrokerError, match="another broker listens"):
        BrokerServer(served, FakeBroker())
    assert BrokerLink(served).host_id_locked() is False


def test_only_root_may_ask(served: Path) -> None:
    assert served.stat().st_mode & 0o777 == 0o660
