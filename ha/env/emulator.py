"""The engine VM's emulator, a process of this host, found without libvirt.

libvirt answers no question about a VM while its start waits for the lease: even `destroy` waits
behind it. Its pid file is there by then (libvirt's qemu_process.c writes it before it asks for
the lease).
"""

import os
import select
import signal
from pathlib import Path

STATE_FOLDER = Path("/run/libvirt/qemu")
_MILLISECONDS = 1000


class Emulator:
    """The emulator of the VM of this name."""

    def __init__(self, name: str, folder: Path = STATE_FOLDER) -> None:
        self._name = name
        self._pid_file = folder / f"{name}.pid"

    def kill(self, limit_seconds: float) -> bool:
        """Kill it and wait until it is gone; False when there is none, or it is not gone in time.

        The process is held by a pidfd from before its command line is looked at, so another one
        that got its number is never met.
        """
        try:
            pid = int(self._pid_file.read_text())
            process = os.pidfd_open(pid)
        except (OSError, ValueError):
            return False
        try:
            if not self._is_it(pid):
                return False
            signal.pidfd_send_signal(process, signal.SIGKILL)
            return _ended(process, limit_seconds)
        except ProcessLookupError:
            return True
        finally:
            os.close(process)

    def _is_it(self, pid: int) -> bool:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        # libvirt's qemu_command.c: `-name guest=NAME,debug-threads=on`
        names = [argument.split(b",")[0] for argument in arguments]
        return f"guest={self._name}".encode() in names


def _ended(process: int, limit_seconds: float) -> bool:
    waiting = select.poll()
    waiting.register(process, select.POLLIN)  # pidfd_open(2): readable when the process ends
    return bool(waiting.poll(limit_seconds * _MILLISECONDS))
