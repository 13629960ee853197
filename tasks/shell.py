"""Commands on hosts over SSH (Fabric). The only importer of it and paramiko, with ssh_runner.

Fabric by itself accepts any host key (fabric #2071, #1804), waits up to an hour for a stalled
sshd, and reports a lost connection as exit code -1. Here only known keys are accepted, every
wait has a limit, and lost contact is an exception of its own.
"""

import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import invoke.exceptions
import paramiko
from fabric import Config, Connection

from tasks.env import (
    AccessRefused,
    HostKeyRefused,
    HostUnreachable,
    LostContact,
    NoAnswer,
    Ran,
)
from tasks.inventory import Host, Inventory, Ssh
from tasks.ssh_runner import WholeOutput

OWN_CONFIG = {"load_ssh_configs": False}


@dataclass(frozen=True, slots=True)
class ShellLimits:
    """Time limits of a connection."""

    connect_timeout_seconds: float = 10.0
    channel_timeout_seconds: float = 15.0
    keepalive_seconds: int = 15


class SshShell:
    """One host's shell over one connection, opened when first used and again when it was lost."""

    def __init__(self, host: Host, ssh: Ssh, limits: ShellLimits) -> None:
        """Prepare the shell; nothing is connected yet."""
        self._host = host
        self._ssh = ssh
        self._limits = limits
        self._connection: Connection | None = None
        self._proxy: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()

    @property
    def host(self) -> str:
        """Return the host's name in the inventory."""
        return self._host.name

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_seconds: float = 30.0
    ) -> Ran:
        """Run a command, each argument passed as it is; any exit code is returned.

        `stdin` goes through the session's channel, and is in no argument on either side.
        Raises: HostUnreachable, LostContact, NoAnswer, HostKeyRefused, AccessRefused.
        """
        # A remote that reads its stdin would wait for ever on an open channel.
        line = shlex.join(argv) + (" </dev/null" if stdin is None else "")
        runner = WholeOutput(self._opened(), stdin, timeout_seconds)
        began = time.monotonic()
        try:
            result = runner.run(
                line, hide=True, warn=True, in_stream=False, timeout=timeout_seconds
            )
        except invoke.exceptions.CommandTimedOut as error:
            self.close()
            raise self._no_answer(argv, timeout_seconds) from error
        except (paramiko.SSHException, OSError, EOFError, invoke.exceptions.ThreadException) as e:
            self.close()
            raise LostContact(
                f"{self._at()}: contact lost around `{_short(argv)}` ({_said(e)}); whether it"
                " ran is unknown"
            ) from e
        if result.exited == -1:  # what paramiko says when the connection ends before the command
            self.close()
            # invoke ends a command that takes too long so, and may not know yet that it has.
            if time.monotonic() - began >= timeout_seconds:
                raise self._no_answer(argv, timeout_seconds)
            raise LostContact(
                f"{self._at()}: contact lost while `{_short(argv)}` ran; whether it ended is"
                " unknown"
            )
        return Ran(self.host, tuple(argv), result.exited, result.stdout, result.stderr)

    def close(self) -> None:
        """Close the connection and the proxy; the next command opens new ones."""
        with self._guard:
            connection, self._connection = self._connection, None
            proxy, self._proxy = self._proxy, None
        if connection is not None:
            connection.close()
        _ended(proxy)

    def _no_answer(self, argv: Sequence[str], timeout_seconds: float) -> NoAnswer:
        return NoAnswer(
            f"{self._at()}: `{_short(argv)}` gave no end within {timeout_seconds:.0f} s; it"
            " may still be running there"
        )

    def _at(self) -> str:
        return f"{self._host.name} ({self._host.address}, port {self._host.port})"

    def _opened(self) -> Connection:
        with self._guard:
            if self._connection is None or not self._connection.is_connected:
                self._end_proxy()
                self._connection = self._connected()
            return self._connection

    def _connected(self) -> Connection:
        connection = self._prepared()
        try:
            connection.open()
        except paramiko.BadHostKeyException as error:
            raise HostKeyRefused(self._changed_key(error)) from error
        except paramiko.AuthenticationException as error:
            raise AccessRefused(
                f"{self._at()}: user {self._ssh.user} with key {self._ssh.key_file} was not let"
                f" in ({_said(error)}); put the public key into that user's authorized_keys"
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            self._end_proxy()
            if "not found in known_hosts" in str(error):
                raise HostKeyRefused(self._unknown_key()) from error
            raise HostUnreachable(
                f"{self._at()}: no SSH connection ({_said(error)}); see that the host is up, that"
                " sshd runs, and that address, port and proxy_command in the inventory are right"
            ) from error
        transport = connection.transport
        transport.set_keepalive(self._limits.keepalive_seconds)
        if not self._ssh.proxy_command:
            # Without it each short answer waits 40 ms for a delayed ACK.
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _prepared(self) -> Connection:
        limit = self._limits.channel_timeout_seconds
        options: dict[str, Any] = {
            "key_filename": str(self._ssh.key_file),
            "allow_agent": False,
            "look_for_keys": False,
            "banner_timeout": limit,
            "auth_timeout": limit,
            "channel_timeout": limit,
        }
        if self._ssh.proxy_command:
            options["sock"] = self._proxied()
        connection = Connection(
            self._host.address,
            user=self._ssh.user,
            port=self._host.port,
            config=Config(overrides=OWN_CONFIG),
            connect_timeout=self._limits.connect_timeout_seconds,
            connect_kwargs=options,
        )
        try:
            connection.client.load_host_keys(str(self._ssh.known_hosts))
        except OSError as error:
            raise HostKeyRefused(
                f"{self._at()}: cannot read {self._ssh.known_hosts} ({_said(error)})"
            ) from error
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        return connection

    def _proxied(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        argv = self._ssh.proxy_argv(self._host)
        try:
            self._proxy = subprocess.Popen(
                argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL
            )
        except OSError as error:
            ours.close()
            raise HostUnreachable(
                f"{self._at()}: cannot start the proxy command `{shlex.join(argv)}`: {error}"
            ) from error
        finally:
            theirs.close()
        return ours

    def _end_proxy(self) -> None:
        proxy, self._proxy = self._proxy, None
        _ended(proxy)

    def _known_as(self) -> str:
        address, port = self._host.address, self._host.port
        return address if port == paramiko.config.SSH_PORT else f"[{address}]:{port}"

    def _unknown_key(self) -> str:
        return (
            f"{self._at()}: its host key is not in {self._ssh.known_hosts}; on the host's console"
            " run `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`, compare it with"
            f" `ssh-keyscan -p {self._host.port} {self._host.address}`, then add that line"
        )

    def _changed_key(self, error: paramiko.BadHostKeyException) -> str:
        return (
            f"{self._at()}: its host key ({error.key.get_name()}, {error.key.fingerprint}) is not"
            f" the one in {self._ssh.known_hosts} ({error.expected_key.fingerprint}): the host was"
            " reinstalled, or something else answers in its place. If you know that it was"
            f" reinstalled: `ssh-keygen -f {self._ssh.known_hosts} -R '{self._known_as()}'`, then"
            " add the new key"
        )


class ShellPool:
    """One shell a host, kept while the process lives."""

    def __init__(self, inventory: Inventory, limits: ShellLimits) -> None:
        """Make an empty pool over an inventory."""
        self._inventory = inventory
        self._limits = limits
        self._shells: dict[tuple[str, str], SshShell] = {}
        self._guard = threading.Lock()

    def shell(self, cluster: str, host: str) -> SshShell:
        """Return the shell of a host. Raises: InventoryError."""
        wanted = self._inventory.cluster(cluster)
        with self._guard:
            if (cluster, host) not in self._shells:
                shell = SshShell(*wanted.reach(host), self._limits)
                self._shells[cluster, host] = shell
            return self._shells[cluster, host]


def _ended(proxy: "subprocess.Popen[bytes] | None") -> None:
    if proxy is not None:
        proxy.terminate()
        proxy.wait()


def _short(argv: Sequence[str]) -> str:
    return " ".join(argv)[:120]


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")[:300]
