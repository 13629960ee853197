"""Probes of the host on files of the test's own, and of the network on the loopback."""

import fcntl
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ha.env import network_probes, probes
from ha.env.probes import HostProbes

VM_PID = 4242


class Host:
    """A host's /proc as files, and a clock that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.pid_file = folder / "HostedEngine.pid"
        (folder / "proc" / str(VM_PID)).mkdir(parents=True)
        self.probes = HostProbes(
            network_probes.always,
            "no such bridge",
            "engine.example",
            monotonic=lambda: self.now,
            pause=lambda _: None,
            proc=folder / "proc",
            vm_pid_file=self.pid_file,
        )

    def cpu(self, at: float, *, busy: int, idle: int, vm: int | None = None) -> float | None:
        self.now = at
        (self.folder / "proc/stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 9999 0\ncpu0 x\n")
        if vm is not None:
            self.pid_file.write_text(str(VM_PID))
            stat = f"{VM_PID} (qemu (x) y) S " + " ".join(["0"] * 10) + f" {vm} 0 0 0"
            (self.folder / "proc" / str(VM_PID) / "stat").write_text(stat)
        return self.probes.cpu_load_without_engine()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("flags", "up"), [(0x1043, True), (0x1003, False), (0x40, False), (0x0, False)]
)
def test_an_interface_is_up_when_switched_on_and_with_a_carrier(
    monkeypatch: pytest.MonkeyPatch, flags: int, up: bool
) -> None:
    def ioctl(_: object, request: int, question: bytes) -> bytes:
        assert (request, question.rstrip(b"\0")) == (0x8913, b"ovirtmgmt")
        return struct.pack("16sH14x", b"ovirtmgmt", flags)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert probes.interface_is_up("ovirtmgmt") is up


def test_the_loopback_is_up_and_what_is_not_there_is_not(host: Host) -> None:
    assert probes.interface_is_up("lo")
    assert host.probes.bridge_up() is False


def test_free_memory_is_what_a_new_vm_could_have(host: Host) -> None:
    meminfo = "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:   2097152 kB\n"
    (host.folder / "proc/meminfo").write_text(meminfo)
    assert host.probes.memory_free_mib() == 2048.0


def test_unreadable_memory_is_not_known(host: Host) -> None:
    assert host.probes.memory_free_mib() is None


def test_cpu_load_takes_two_looks(host: Host) -> None:
    assert host.cpu(0, busy=0, idle=0) is None
    assert host.cpu(10, busy=25, idle=75) == 0.25


def test_cpu_load_is_that_of_the_last_minute(host: Host) -> None:
    host.cpu(0, busy=0, idle=0)
    host.cpu(60, busy=600, idle=0)
    assert host.cpu(120, busy=600, idle=600) == 0.0


def test_the_engine_vm_does_not_count(host: Host) -> None:
    host.cpu(0, busy=0, idle=0, vm=100)
    assert host.cpu(10, busy=80, idle=20, vm=150) == 0.3


def test_an_engine_vm_started_meanwhile_does_not_count_either(host: Host) -> None:
    host.cpu(0, busy=0, idle=0)
    assert host.cpu(10, busy=80, idle=20, vm=80) == 0.0


def test_five_probes_give_steps_of_a_fifth() -> None:
    answers = iter([True, False, True, True, False])
    pauses: list[float] = []
    assert network_probes.share_of_successes(lambda: next(answers), pauses.append) == 0.6
    assert pauses == [0.5] * 4


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Give the port of a server on the loopback."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            answer(self.request)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, args=(0.05,)).start()
        yield serving.server_address[1]
        serving.shutdown()


def test_tcp_needs_somebody_who_listens() -> None:
    with server(lambda _: None) as port:
        assert network_probes.tcp("127.0.0.1", port)
    assert not network_probes.tcp("127.0.0.1", port)


def test_dns_is_content_with_any_answer(tmp_path: Path) -> None:
    def name_server(connection: socket.socket) -> None:
        (size,) = struct.unpack("!H", connection.recv(2))
        query = connection.recv(size)
        connection.sendall(struct.pack("!H", len(query)) + query)

    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("# comment\nsearch x\nnameserver\nnameserver 127.0.0.1\n")
    with server(name_server) as port:
        assert network_probes.dns(resolv_conf, port=port)
    assert not network_probes.dns(resolv_conf, port=port)
    assert not network_probes.dns(tmp_path / "absent")


def test_ping_without_the_command_is_a_failed_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert network_probes.ping("127.0.0.1") is False


@pytest.mark.parametrize(
    ("status", "body", "ok"),
    [
        ("200 OK", b"DB Up!Welcome to Health Status!", True),
        ("200 OK", b"Still: DB Up", True),
        ("200 OK", b"\nDB Up", False),
        ("200 OK", b"DB Down", False),
        ("200 OK", b"", False),
        ("500 Oops", b"DB Up", False),
    ],
)
def test_health_page(status: str, body: bytes, ok: bool) -> None:
    def page(connection: socket.socket) -> None:
        assert connection.recv(4096).startswith(b"GET /ovirt-engine/services/health HTTP/1.1\r\n")
        connection.sendall(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode() + body)

    with server(page) as port:
        assert probes.health_page_ok("127.0.0.1", port=port) is ok
    assert probes.health_page_ok("127.0.0.1", port=port) is False


def test_a_health_page_that_is_no_http_is_not_ok() -> None:
    with server(lambda connection: connection.sendall(b"SSH-2.0\r\n")) as port:
        assert probes.health_page_ok("127.0.0.1", port=port) is False


def test_the_health_page_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    def page(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nDB Up!")

    with server(page) as port:
        assert probes.health_page_ok("127.0.0.1", port=port)
