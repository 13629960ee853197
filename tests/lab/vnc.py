"""The handshake of a VNC client (RFC 6143): protocol version, password, the name of the screen."""

import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from tests.lab.cluster import Lab

PASSWORD_SECURITY = 2
LIMIT_SECONDS = 15.0


class VncRefused(Exception):
    """Raised when the server does not let the client in; says what the server said."""


def screen_name(lab: Lab, address: str, port: int, password: str) -> str:
    """Log in and return the screen's name. Raises VncRefused."""
    with _connected(lab, address, port) as (hear, tell):
        _log_in(hear, tell, password)
        tell.write(b"\x01")  # leave other clients connected
        _read(hear, 2 + 2 + 16)  # width, height, pixel format
        (length,) = struct.unpack(">I", _read(hear, 4))
        return _read(hear, length).decode()


@contextmanager
def _connected(lab: Lab, address: str, port: int) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    argv = lab.access.proxy(address, str(port))
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        alarm = threading.Timer(LIMIT_SECONDS, process.kill)
        alarm.start()
        try:
            yield process.stdout, process.stdin
        finally:
            alarm.cancel()
            process.kill()


def _log_in(hear: IO[bytes], tell: IO[bytes], password: str) -> None:
    _read(hear, 12)
    tell.write(b"RFB 003.008\n")
    (kinds,) = _read(hear, 1)
    if not kinds:
        raise VncRefused(_reason(hear))
    if PASSWORD_SECURITY not in _read(hear, kinds):
        raise VncRefused("the server asks for no password")
    tell.write(bytes([PASSWORD_SECURITY]))
    tell.write(_answer(_read(hear, 16), password))
    (refused,) = struct.unpack(">I", _read(hear, 4))
    if refused:
        raise VncRefused(_reason(hear))


def _answer(challenge: bytes, password: str) -> bytes:
    """The challenge in DES with the password as its key, each byte of it mirrored."""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode()[:8].ljust(8, b"\0"))
    # Three times the same key is plain DES.
    encrypt = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()
    return encrypt.update(challenge) + encrypt.finalize()


def _reason(hear: IO[bytes]) -> str:
    (length,) = struct.unpack(">I", _read(hear, 4))
    return _read(hear, length).decode()


def _read(hear: IO[bytes], count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = hear.read(count - len(data))
        if not part:
            raise VncRefused("the server hung up")
        data += part
    return data
