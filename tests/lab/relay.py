"""A way for the lab's hosts to the Prefect server, which listens on this machine's loopback only.

The lab's network is a namespace of its own: one socat listens on the bridge in there, one connects
out here, and a socket file, which no namespace hides, is between them.
"""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.lab.cluster import Lab
from tests.lab.commands import LabError
from tests.lab.network import SERVER_ADDRESS

PORT = 4200
STARTED_WITHIN_SECONDS = 10
CONF = "/etc/ovirt-hosted-engine-ha/events.conf"
AUTH = "/etc/ovirt-hosted-engine-ha/events.auth"
URL = f"http://{SERVER_ADDRESS}:{PORT}/api"


@contextmanager
def relayed(lab: Lab, port: int, folder: Path) -> Iterator[str]:
    """Let the hosts reach 127.0.0.1:`port` at URL while the block lasts."""
    middle = folder / "relay.socket"
    middle.unlink(missing_ok=True)
    inside = lab.network.inside(
        "socat", f"TCP-LISTEN:{PORT},bind={SERVER_ADDRESS},reuseaddr,fork", f"UNIX-CONNECT:{middle}"
    )
    outside = ["socat", f"UNIX-LISTEN:{middle},mode=600,fork", f"TCP:127.0.0.1:{port}"]
    with ExitStack() as stack:
        stack.enter_context(_running(outside))
        ends_at = time.monotonic() + STARTED_WITHIN_SECONDS
        while not middle.exists():
            if time.monotonic() > ends_at:
                raise LabError(f"socat does not listen on {middle}")
            time.sleep(0.05)
        stack.enter_context(_running(inside))
        yield URL


@contextmanager
def told_to(lab: Lab, url: str, credentials: str) -> Iterator[None]:
    """Let the hosts send their events there while the block lasts."""
    conf = f"[events]\nurl={url}\nauth-file={AUTH}\ncluster=lab\n"
    for host in lab.hosts:
        root = lab.machine(host.name).root
        for path, text in ((AUTH, f"{credentials}\n"), (CONF, f"{conf}host={host.name}\n")):
            place = root / path.lstrip("/")
            place.touch(mode=0o600)
            place.write_text(text)
            place.chmod(0o600)
    _restart(lab)
    try:
        yield
    finally:
        for host in lab.hosts:
            lab.ssh(host.name, "rm", "-f", CONF, AUTH)
        _restart(lab)


def _restart(lab: Lab) -> None:
    """The engine VM runs on meanwhile."""
    for host in lab.hosts:
        lab.ssh(host.name, "systemctl restart ovirt-ha-broker && systemctl restart ovirt-ha-agent")


@contextmanager
def _running(argv: Sequence[str]) -> Iterator[None]:
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
