"""As much of VNC's protocol (RFC 6143) as it takes to be let in, or not."""

import struct
import subprocess
from collections.abc import Sequence
from typing import IO

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

VERSION = b"RFB 003.008\n"
VNC_AUTHENTICATION = 2
KEY_BYTES = 8
CHALLENGE_BYTES = 16


def lets_in(connect: Sequence[str], password: str) -> bool:
    """Tell whether a VNC server takes the password; `connect` is a command that leads to it.

    Raises ValueError when there is no such server, or it asks for something else.
    """
    with subprocess.Popen(
        list(connect), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as line:
        assert line.stdin
        assert line.stdout
        try:
            return _shake_hands(line.stdin, line.stdout, password)
        finally:
            line.kill()


def _shake_hands(out: IO[bytes], answers: IO[bytes], password: str) -> bool:
    if not _read(answers, len(VERSION)).startswith(b"RFB 003."):
        raise ValueError("this is no VNC server")
    _write(out, VERSION)
    offered = _read(answers, _read(answers, 1)[0])
    if VNC_AUTHENTICATION not in offered:
        raise ValueError(f"the server offers {list(offered)}, not a password")
    _write(out, bytes([VNC_AUTHENTICATION]))
    _write(out, _answer(_read(answers, CHALLENGE_BYTES), password))
    (refused,) = struct.unpack(">I", _read(answers, 4))
    return not refused


def _answer(challenge: bytes, password: str) -> bytes:
    """DES with the password as its key, each byte with its bits reversed (RFC 6143, 7.2.2)."""
    key = password.encode("ascii")[:KEY_BYTES].ljust(KEY_BYTES, b"\0")
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in key)
    # Three times the same key is DES.
    encryptor = Cipher(TripleDES(mirrored * 3), modes.ECB()).encryptor()
    return encryptor.update(challenge) + encryptor.finalize()


def _read(answers: IO[bytes], count: int) -> bytes:
    found = answers.read(count)
    if len(found) < count:
        raise ValueError("the server hung up")
    return found


def _write(out: IO[bytes], data: bytes) -> None:
    out.write(data)
    out.flush()
