"""One probe of the network each: a function that is true when the network answered.

The four tests and their limits are upstream's; the name server and the port are asked directly
rather than with dig and nc, which a small host may not have.
"""

import logging
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

PROBES = 5
PROBE_PAUSE_SECONDS = 0.5
PROBE_SECONDS = 5
DNS_PORT = 53
_DNS_ID = 0x4845
_DNS_RECURSE = 0x0100
_DNS_TYPE_NS, _DNS_CLASS_IN = 2, 1

log = logging.getLogger(__name__)

Probe = Callable[[], bool]


def share_of_successes(probe: Probe, pause: Callable[[float], None]) -> float:
    """Probe five times, half a second apart; return the share that succeeded."""
    successes = 0
    for turn in range(PROBES):
        if turn:
            pause(PROBE_PAUSE_SECONDS)
        successes += probe()
    if successes < PROBES:
        log.warning("Failed to verify network status, (%s out of %s)", successes, PROBES)
    return successes / PROBES


def always() -> bool:
    """The test `none`."""
    return True


def ping(address: str) -> bool:
    """The test `ping`: one echo request, answered within 5 s."""
    version = ["-6"] if ":" in address else []
    argv = ["ping", "-c", "1", "-W", str(PROBE_SECONDS), *version, address]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=2 * PROBE_SECONDS, check=False)
    except FileNotFoundError:
        log.error("The network test ping needs the command ping, which is not installed")
        return False
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def tcp(address: str, port: int) -> bool:
    """The test `tcp`: a connection made within 5 s."""
    try:
        socket.create_connection((address, port), PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def dns(resolv_conf: Path = Path("/etc/resolv.conf"), *, port: int = DNS_PORT) -> bool:
    """The test `dns`: one of the host's name servers answers, whatever it says."""
    return any(_name_server_answers(server, port) for server in _name_servers(resolv_conf))


def _name_servers(resolv_conf: Path) -> list[str]:
    try:
        lines = resolv_conf.read_text().splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [line[1] for line in words if line[:1] == ["nameserver"] and line[1:]]


def _name_server_answers(server: str, port: int) -> bool:
    """Ask over TCP for the name servers of the root (RFC 1035 4.1, 4.2.2)."""
    question = b"\0" + struct.pack("!HH", _DNS_TYPE_NS, _DNS_CLASS_IN)
    query = struct.pack("!HHHHHH", _DNS_ID, _DNS_RECURSE, 1, 0, 0, 0) + question
    try:
        with socket.create_connection((server, port), PROBE_SECONDS) as connection:
            connection.sendall(struct.pack("!H", len(query)) + query)
            with connection.makefile("rb") as answer:
                head = answer.read(4)
    except OSError:
        return False
    return head[2:] == struct.pack("!H", _DNS_ID)
