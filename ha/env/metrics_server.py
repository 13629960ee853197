"""Serves metrics over HTTP to whoever may reach the address: off unless broker.conf asks for it.

Read-only and without secrets. Few requests are served at a time, each for a short while only, so
that nobody can keep the broker busy.
"""

import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ha.metrics import CONTENT_TYPE

MOST_AT_ONCE = 4
REQUEST_SECONDS = 5.0

log = logging.getLogger(__name__)


class MetricsServer(ThreadingHTTPServer):
    """Listens at an address. Raises OSError when that cannot be had."""

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], text: Callable[[], str]) -> None:
        self.text = text
        self.address_family = _family_of(address)
        self._room = threading.BoundedSemaphore(MOST_AT_ONCE)
        super().__init__(address, _Request)

    def start(self) -> None:
        """Serve from a thread of its own, until the process ends."""
        threading.Thread(target=self.serve_forever, name="metrics", daemon=True).start()

    def server_bind(self) -> None:
        """Bind, without asking a name server for our name as HTTPServer does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "", self.server_address[1]

    def process_request(self, request: object, client_address: object) -> None:
        """Serve it in a thread of its own, or hang up when enough are served."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)  # type: ignore[arg-type]
            return
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve it, then make room for the next."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what ended a request; the broker goes on."""
        log.exception("A request for metrics ended unexpectedly")


class _Request(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:  # noqa: N802  (http.server's name)
        if self.path.partition("?")[0] == "/metrics":
            self._answer(200, CONTENT_TYPE, self.server.text())
        else:
            self._answer(404, "text/plain; charset=utf-8", "Metrics are at /metrics\n")

    def _answer(self, code: int, content_type: str, text: str) -> None:
        body = text.encode()
        try:
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True  # the client did not wait for its answer

    def log_message(self, *_: object) -> None:
        """A line for every scrape would bury the others."""


def _family_of(address: tuple[str, int]) -> socket.AddressFamily:
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return found[0][0]
