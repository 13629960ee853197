"""Metrics over real HTTP: who asks too much, too slowly or for something else."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ha.env import metrics_server
from ha.env.metrics_server import MOST_AT_ONCE, MetricsServer


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with MetricsServer(("127.0.0.1", 0), lambda: "score 1\n") as server:
        server.start()
        yield server
        server.shutdown()


def ask(
    server: MetricsServer, path: str = "/metrics", method: str = "GET"
) -> tuple[int, str | None, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read().decode()
    finally:
        connection.close()


def test_the_metrics(server: MetricsServer) -> None:
    assert ask(server) == (200, "text/plain; version=0.0.4; charset=utf-8", "score 1\n")
    assert ask(server, "/metrics?x=1")[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "code"), [("/", "GET", 404), ("/metrics", "POST", 501), ("*", "PUT", 501)]
)
def test_there_is_nothing_else(server: MetricsServer, path: str, method: str, code: int) -> None:
    assert ask(server, path, method)[0] == code


@pytest.mark.parametrize("line", [b"\0\xff\r\n\r\n", b"GET\r\n", b"GET /metrics HTTP/9.9\r\n\r\n"])
def test_what_is_no_request_disturbs_nobody(server: MetricsServer, line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), 10) as client:
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        client.recv(65536)
    assert ask(server)[0] == 200


def test_who_says_nothing_is_hung_up_on(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 0 < metrics_server._Request.timeout <= 10
    monkeypatch.setattr(metrics_server._Request, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", server.server_port), 10) as client:
        assert client.recv(1) == b""
    assert ask(server)[0] == 200


def test_only_so_many_are_served_at_once(server: MetricsServer) -> None:
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.server_port), 10))
            for _ in range(MOST_AT_ONCE)
        ]
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(server)
        for client in silent:
            client.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            assert ask(server)[0] == 200
            break
        except (http.client.HTTPException, OSError):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_an_error_ends_the_request_and_not_the_broker(
    server: MetricsServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    whole, server.text = server.text, lambda: str(1 // 0)  # type: ignore[method-assign]
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(server)
    server.text = whole  # type: ignore[method-assign]
    assert ask(server)[0] == 200
    assert not died
    assert "ZeroDivisionError" in caplog.text


def test_an_address_of_the_newer_kind() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with MetricsServer(("::1", 0), lambda: "score 1\n") as server:
        server.start()
        with socket.create_connection(("::1", server.server_port), 10) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert client.recv(15).startswith(b"HTTP/1.0 200")
        server.shutdown()


def test_an_address_that_is_in_use_is_an_error(server: MetricsServer) -> None:
    with pytest.raises(OSError, match="in use"):
        MetricsServer(("127.0.0.1", server.server_port), str)
