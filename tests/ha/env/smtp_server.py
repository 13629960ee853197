"""A mail server of the test's own: real sockets, TLS and sign-in, a little of RFC 5321."""

import base64
import queue
import shutil
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Mailbox:
    """What the server is told to do, and what it got."""

    port: int = 0
    starttls: ssl.SSLContext | None = None
    user: tuple[str, str] | None = None
    mechanisms: str = "PLAIN LOGIN"
    answers: list[bytes] = field(default_factory=list)
    """To the next mails in place of a 250, each once."""
    refused: tuple[str, ...] = ()
    inbox: "queue.Queue[str]" = field(default_factory=queue.Queue)
    said: list[str] = field(default_factory=list)
    secure: list[bool] = field(default_factory=list)
    """Whether each mail came over TLS."""

    def mail(self) -> str:
        """Wait for the next mail."""
        return self.inbox.get(timeout=10)


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.box: Mailbox = self.server.box  # type: ignore[attr-defined]
        self.signed_in = False
        self.answer(b"220 here")
        while line := self.rfile.readline():
            words = line.decode().strip()
            self.box.said.append(words.split(" ")[0].upper())
            verb = self.box.said[-1].replace("-", "_").lower()
            getattr(self, f"do_{verb}", self.do_other)(words)
            if verb == "quit":
                return

    def answer(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")
        self.wfile.flush()

    def do_ehlo(self, _words: str) -> None:
        lines = [b"here"]
        if self.box.starttls and not self.is_secure:
            lines.append(b"STARTTLS")
        elif self.box.user:
            lines.append(f"AUTH {self.box.mechanisms}".encode())
        for line in lines[:-1]:
            self.answer(b"250-" + line)
        self.answer(b"250 " + lines[-1])

    @property
    def is_secure(self) -> bool:
        return isinstance(self.connection, ssl.SSLSocket)

    def do_starttls(self, _words: str) -> None:
        if not self.box.starttls:
            self.answer(b"502 no such command")
            return
        self.answer(b"220 go ahead")
        try:
            self.connection = self.box.starttls.wrap_socket(self.connection, server_side=True)
        except OSError:
            return  # the client does not trust us
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")

    def do_auth(self, words: str) -> None:
        _, mechanism, coded = words.split(" ")
        given = base64.b64decode(coded).decode()
        if mechanism == "PLAIN":
            _, given, password = given.split("\0")
        else:
            self.answer(b"334 UGFzc3dvcmQ6")
            password = base64.b64decode(self.rfile.readline()).decode()
        self.signed_in = (given, password) == self.box.user
        self.answer(b"235 welcome" if self.signed_in else b"535 go away")

    def do_mail(self, _words: str) -> None:
        denied = self.box.user is not None and not self.signed_in
        self.answer(b"530 sign in" if denied else b"250 ok")

    def do_rcpt(self, words: str) -> None:
        denied = any(who in words for who in self.box.refused)
        self.answer(b"550 no such user" if denied else b"250 ok")

    def do_data(self, _words: str) -> None:
        self.answer(b"354 go")
        text = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
        answer = self.box.answers.pop(0) if self.box.answers else b"250 taken"
        if answer.startswith(b"250"):
            self.box.secure.append(self.is_secure)
            self.box.inbox.put(text)
        self.answer(answer)

    def do_quit(self, _words: str) -> None:
        self.answer(b"221 bye")

    def do_other(self, _words: str) -> None:
        self.answer(b"250 ok")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        return  # a client that goes away is what some tests are about


@contextmanager
def mail_server(
    box: Mailbox, *, tls: ssl.SSLContext | None = None, port: int = 0
) -> Iterator[Mailbox]:
    """Serve a mailbox; with `tls` all of the connection is encrypted."""
    with _Server(("127.0.0.1", port), _Session) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.box = box  # type: ignore[attr-defined]
        box.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            yield box
        finally:
            server.shutdown()


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the file of who signed it: its certificate is for `name` only."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    files = ["-keyout", str(key), "-out", str(cert), "-addext", f"subjectAltName={name}"]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert
