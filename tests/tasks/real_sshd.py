"""A real sshd on 127.0.0.1, run as the current user."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.inventory import Host, Ssh
from tasks.shell import ShellLimits, SshShell

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
QUICK = ShellLimits(connect_timeout_seconds=3.0, channel_timeout_seconds=3.0)


@dataclass
class Sshd:
    """A real sshd with a host key and one key that it lets in."""

    port: int
    process: "subprocess.Popen[bytes]"
    dir: Path

    def ssh(self, **changes: object) -> Ssh:
        known = {"key_file": self.dir / "key", "known_hosts": self.dir / "known_hosts"}
        return Ssh.model_validate({"user": getpass.getuser(), **known, **changes})

    def shell(self, **changes: object) -> SshShell:
        host = Host(name="h1", address="127.0.0.1", port=self.port, host_id=1)
        return SshShell(host, self.ssh(**changes), QUICK)

    def sessions(self) -> list[int]:
        """Return the pids of the processes that serve connections."""
        return descendants(self.process.pid)


def descendants(pid: int) -> list[int]:
    told = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    below = [int(word) for word in told.stdout.split()]
    return below + [deeper for child in below for deeper in descendants(child)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


@contextmanager
def running_sshd(where: Path) -> Iterator[Sshd]:
    """Run an sshd for the block, its files in a directory."""
    port = free_port()
    host_key = make_key(where / "host")
    (where / "authorized_keys").write_text(make_key(where / "key"))
    make_key(where / "stranger")
    (where / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    options = [
        f"ListenAddress=127.0.0.1:{port}",
        f"HostKey={where / 'host'}",
        f"AuthorizedKeysFile={where / 'authorized_keys'}",
        f"PidFile={where / 'pid'}",
        "UsePAM=no",
        "StrictModes=no",
        "PasswordAuthentication=no",
        "PerSourcePenalties=no",
    ]
    if subprocess.run([SSHD, "-T", "-f", "/dev/null", "-o", options[-1]], capture_output=True,
                      check=False).returncode:  # fmt: skip
        options.pop()  # an older one, without penalties
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    argv = [SSHD, "-D", "-e", "-f", "/dev/null"]
    for option in options:
        argv += ["-o", option]
    with (where / "log").open("wb") as log:
        process = subprocess.Popen(argv, stderr=log)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    running = Sshd(port, process, where)
    try:
        yield running
    finally:  # a test may have put another in its place
        running.process.terminate()
        running.process.wait()
