"""The `hosted-engine` command on a real host."""

import io
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ha.cli.command import run_command
from ha.cli.host import FAILURE, Host, Terminal
from ha.cli.later import Later, later
from ha.config import Paths
from ha.config_files import read_agent_conf
from ha.env.clock import HostClock
from ha.env.lockspace import (
    SanlockLockspace,
    initialise_lease,
    initialise_lockspace,
    joined_as,
    lockspace_name,
)
from ha.env.ports import Lockspace
from ha.env.threads import HostThreads
from ha.env.whiteboard import StorageWhiteboard
from ha.rpc import BrokerLink
from ha.services import SystemdServices

# A write that waits for slow storage, and the read back behind it.
BROKER_LIMIT_SECONDS = 60.0
INTERRUPTED = 130
# A terminal that is gone, and a host that shuts down.
_ENDS = (signal.SIGHUP, signal.SIGTERM)


class RealSanlock:
    """The sanlock daemon of this host; `agent_conf` has the io_timeout of the lockspaces."""

    def __init__(self, agent_conf: Path) -> None:
        self._agent_conf = agent_conf

    def lockspace(self, name: str, path: Path) -> Lockspace:
        """Return a lockspace at the start of a file or device. Raises ConfigError."""
        return SanlockLockspace(name, path, io_timeout_seconds=self._io_timeout_seconds())

    def initialise_lockspace(self, name: str, path: Path, *, sector_bytes: int = 512) -> None:
        """Write an empty lockspace. Raises LockspaceFailed, ConfigError."""
        initialise_lockspace(
            name, path, sector_bytes=sector_bytes, io_timeout_seconds=self._io_timeout_seconds()
        )

    def lockspace_name(self, path: Path, *, sector_bytes: int) -> str:
        """Read the name of a lockspace. Raises LockspaceFailed."""
        return lockspace_name(path, sector_bytes=sector_bytes)

    def joined_as(self, name: str) -> Sequence[int]:
        """The host ids with which this host is in a lockspace. Raises LockspaceFailed."""
        return joined_as(name)

    def initialise_lease(self, lockspace: str, name: str, path: Path, *, offset_bytes: int) -> None:
        """Write a free lease. Raises LockspaceFailed."""
        initialise_lease(lockspace, name, path, offset_bytes=offset_bytes)

    def _io_timeout_seconds(self) -> int:
        return read_agent_conf(self._agent_conf).timing.io_timeout_seconds


def main() -> int:
    """Run the command line of this process."""
    logging.disable(logging.CRITICAL)
    _end_as_interrupted()
    # What a block says may not be writable in the terminal's encoding.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return run_command(_real_host(), sys.argv[1:])
    except OSError as error:
        _tell_last(f"hosted-engine: {error}")
        return FAILURE
    except KeyboardInterrupt:
        _tell_last("Interrupted; --vm-status tells what is true now")
        return INTERRUPTED


def _end_as_interrupted() -> None:
    """Have a signal that would end this process at once end it as Ctrl-C does.

    What a verb holds, such as a host id, is then given back. nohup's choice stays.
    """

    def interrupt(_number: int, _frame: object) -> None:
        for number in _ENDS:  # they come in pairs; giving back must not be cut short
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in _ENDS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)


def _real_host() -> Host:
    paths = Paths()
    return Host(
        paths=paths,
        name=socket.gethostname(),
        broker=BrokerLink(paths.broker_socket, BROKER_LIMIT_SECONDS),
        engine_vm=Later(later("ha.env.engine_vm", "LibvirtEngineVm")),
        vm_exists=later("ha.env.engine_console", "vm_exists"),
        console=Later(later("ha.env.engine_console", "LibvirtConsole")),
        terminal=Terminal(os.environ, later("getpass", "getpass") if sys.stdin.isatty() else None),
        services=SystemdServices(),
        sanlock=RealSanlock(paths.agent_conf),
        clock=HostClock(),
        threads=HostThreads(),
        whiteboard=StorageWhiteboard,
        mount=later("ha.mounts", "mount"),
        unmount=later("ha.mounts", "unmount"),
        health_page_ok=later("ha.env.probes", "health_page_ok"),
        address_of=later("ha.env.probes", "address_of"),
        new_uuid=lambda: str(later("uuid", "uuid4")()),
        stamp=lambda: datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        kvm=later("ha.vm_domain", "kvm_usable"),
        say=lambda line: print(_shown(line), flush=True),
        complain=_complain,
    )


def _tell_last(line: str) -> None:
    """Say why the command ends; a terminal that is gone does not change its exit code."""
    with suppress(OSError):
        _complain(line)
    # The interpreter would try what is left once more, and end with its own exit code 120.
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except OSError:
            setattr(sys, name, io.StringIO())


def _complain(line: str) -> None:
    print(_shown(line), file=sys.stderr, flush=True)


def _shown(text: str) -> str:
    """A text of other hosts and of files, without what would steer this terminal."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text
    )


if __name__ == "__main__":
    sys.exit(main())
