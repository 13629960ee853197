"""A control node's API of the test's own: it takes events, or answers as it is told."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WITHIN_SECONDS = 10.0


class Control:
    """A control node: it answers with these codes, the last one again and again."""

    def __init__(self) -> None:
        self.answers = [204]
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        control = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802  (http.server's name)
                size = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(size))
                control.posts.append((self.path, dict(self.headers), body))
                control.go_on.wait(WITHIN_SECONDS)
                code = control.answers.pop(0) if len(control.answers) > 1 else control.answers[0]
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:  # noqa: N802
                raise AssertionError("an event became a look")

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/api"

    def events(self) -> list[str]:
        return [body[0]["event"] for _, _, body in self.posts]

    def await_posts(self, count: int) -> None:
        deadline = time.monotonic() + WITHIN_SECONDS
        while len(self.posts) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(self.posts) >= count, self.events()
