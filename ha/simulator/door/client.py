"""A command on a simulated host: asks the simulator at its door, and prints the answer.

Run as a file of its own, some thousand times in a runbook: so it imports nothing that is slow.
"""

import posix
import sys
from _socket import AF_UNIX, SHUT_WR, SOCK_STREAM, socket

NO_ANSWER = 255
PASSED = (b"OVIRT_", b"SIMULATED_")


def main() -> int:
    """Pass the command on; return its exit code."""
    folder, _, name = posix.environ[b"SIMULATED_DOOR"].rpartition(b"/")
    passed = [key + b"=" + value for key, value in posix.environ.items() if key.startswith(PASSED)]
    words = [posix.environ[b"SIMULATED_HOST"], *passed, b"", *map(_coded, sys.argv[1:])]
    door = socket(AF_UNIX, SOCK_STREAM)
    try:
        posix.chdir(folder)  # an address has 108 bytes at most, a path may be longer
        door.connect(name)
        door.sendall(b"run\0" + b"\0".join(words))
        door.shutdown(SHUT_WR)
        answer = _all(door)
    except OSError as error:
        sys.stderr.write(f"{sys.argv[1]}: the simulator does not answer: {error}\n")
        return NO_ANSWER
    head, _, said = answer.partition(b"\n")
    if not head:
        return NO_ANSWER
    exit_code, out_bytes = map(int, head.split())
    sys.stdout.buffer.write(said[:out_bytes])
    sys.stderr.buffer.write(said[out_bytes:])
    return exit_code


def _coded(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")


def _all(door: socket) -> bytes:
    parts = []
    while part := door.recv(65536):
        parts.append(part)
    return b"".join(parts)


if __name__ == "__main__":
    sys.exit(main())
