"""The broker's socket: requests of any kind are answered, answers of any kind are understood."""

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ha.broker import BrokerService
from ha.broker_server import _METHODS, BrokerServer, answer_to
from ha.core.record import BLOCK_BYTES, MAX_HOST_ID
from ha.env.ports import BrokerError, BrokerUnreachable
from ha.rpc import BrokerLink
from tests.ha.broker_world import BrokerWorld
from tests.ha.fakes import FakeBroker
from tests.ha.fuzz.strategies import fuzz, texts

KINDS = {
    *("not_locked", "joining", "host_id_taken", "lockspace", "storage", "lost_write"),
    *("bad_request", "failed"),
}
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)
names = st.sampled_from(("host_ids", "block", "on", "event", "detail", "since", "host_id", "mark"))


@pytest.fixture(scope="module")
def served() -> Iterator[Path]:
    # A socket's path has a limit of 108 bytes, which pytest's folders can exceed.
    folder = Path(tempfile.mkdtemp(prefix="he"))
    with BrokerServer(folder / "socket", FakeBroker()) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield folder / "socket"
        server.shutdown()
    shutil.rmtree(folder)


def answer(line: bytes) -> dict[str, Any]:
    """The answer of a broker of its own, which has no lease: nothing can be written."""
    world = BrokerWorld()
    found = answer_to(BrokerService(world.env, 1), line)
    assert world.whiteboard.blocks == {}, "written without a lease"
    json.dumps(found)
    assert set(found) in ({"result"}, {"error"})
    if "error" in found:
        error: Any = found["error"]
        assert error["kind"] in KINDS
        assert error["message"]
    return found


@fuzz
@given(st.binary(max_size=200))
@example(b"")
@example(b'{"method": "monitors", "params": {}')
def test_bytes_of_any_kind(line: bytes) -> None:
    answer(line)


@fuzz
@given(method=st.one_of(st.sampled_from(sorted(_METHODS)), texts),
       params=st.one_of(st.dictionaries(names, json_values, max_size=4), json_values))  # fmt: skip
@example("notify", {"event": "e", "detail": "d", "since": float("inf")})
@example("notify", {"event": "e", "detail": "d", "since": 10**400})
@example("notify", {"event": "\ud800", "detail": "d"})
@example("set_live_hosts", {"host_ids": [MAX_HOST_ID + 1]})
@example("read_blocks", {"host_ids": [-1]})
@example("watch_engine", {"host_id": True, "mark": "", "seconds": 0})
@example("watch_engine", {"host_id": 2, "mark": "", "seconds": float("nan")})
@example("set_global_maintenance", {"on": 1})
def test_requests_of_any_kind(method: str, params: object) -> None:
    if method != "watch_engine" or not isinstance(params, dict) or params.get("seconds") != 0:
        answer(json.dumps({"method": method, "params": params}).encode())


@pytest.mark.parametrize("params", [
    {"event": "e", "detail": "d", "since": float("inf")}, {"event": "\ud800", "detail": "d"},
    {"event": "e", "detail": "d", "since": -1}, {"event": "e", "detail": "x" * 70_000},
])  # fmt: skip
def test_a_notification_that_nobody_could_send(params: dict[str, object]) -> None:
    found = answer(json.dumps({"method": "notify", "params": params}).encode())
    assert found["error"]["kind"] == "bad_request"


@pytest.mark.parametrize("host_id", [-1, MAX_HOST_ID + 1, 2**64, True, "1", 1.0, None])
@pytest.mark.parametrize("method", ["read_blocks", "set_live_hosts"])
def test_a_host_id_out_of_range(method: str, host_id: object) -> None:
    line = json.dumps({"method": method, "params": {"host_ids": [host_id]}}).encode()
    assert answer(line)["error"]["kind"] == "bad_request"


@pytest.mark.parametrize("size", [0, BLOCK_BYTES - 1, BLOCK_BYTES + 1])
def test_a_request_that_is_not_whole_is_not_carried_out(served: Path, size: int) -> None:
    """A client that dies while it asks, and one that asks for more than fits."""
    request = b'{"method": "set_global_maintenance", "params": {"on": true}}'
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(served))
        connection.sendall(b" " * size + request)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""


@fuzz
@given(st.one_of(json_values.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)))
@example(b"[]")
@example(b'{"error": 1}')
@example(b'{"result": {"host_ids": ["x"], "age_seconds": "y"}}')
@example(b'{"result": {"1": "\\u00e9"}}')
def test_answers_of_any_kind(line: bytes) -> None:
    folder = Path(tempfile.mkdtemp(prefix="he"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        link = BrokerLink(folder / "socket", 5.0)
        asks = (link.monitors, lambda: link.read_blocks(None), link.live_hosts, link.host_id_locked)
        for ask in asks:
            server = threading.Thread(target=_answer_once, args=(listener, line))
            server.start()
            try:
                ask()
            except (BrokerError, BrokerUnreachable) as trouble:
                seen = str(trouble)
                assert len(seen) > 1  # noqa: PT017
            server.join()
    shutil.rmtree(folder)


def _answer_once(listener: socket.socket, line: bytes) -> None:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as asked:
        asked.readline()
        connection.sendall(line.replace(b"\n", b"") + b"\n")
