"""How the control node reaches the hosts: SSH through the lab's network, host keys known."""

import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from tests.lab.commands import CommandFailed, LabError, run
from tests.lab.host import LabHost
from tests.lab.keys import Keys, known_hosts_line
from tests.lab.network import ENGINE_ADDRESS, Network

ENGINE_NAMES = ["engine.lab", "engine", ENGINE_ADDRESS]
# ssh(1): its own exit code when it, not the remote command, failed.
SSH_FAILED = 255


@dataclass(frozen=True, slots=True)
class Access:
    """The client's files for one lab, and SSH with them."""

    folder: Path
    keys: Keys
    network: Network
    hosts: tuple[LabHost, ...]

    @property
    def known_hosts(self) -> Path:
        """The host keys of all hosts and of the engine stand-in, by name and by address."""
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """A configuration for ssh(1): `ssh -F FILE h1`."""
        return self.folder / "ssh_config"

    @property
    def inventory(self) -> Path:
        """The inventory that names this lab as the cluster `lab`."""
        return self.folder / "inventory.toml"

    def write(self, title: str) -> None:
        """Write the files."""
        owners = [([host.fqdn, host.name, host.address], host.name) for host in self.hosts]
        lines = [
            known_hosts_line(names, self.keys.public(owner))
            for names, owner in [*owners, (ENGINE_NAMES, "engine")]
        ]
        self.known_hosts.write_text("".join(lines))
        self.ssh_config.write_text(self._ssh_config())
        self.inventory.write_text(self._inventory(title))

    def ssh(
        self, host: str, *argv: str, check: bool = True, timeout_seconds: float = 60
    ) -> CompletedProcess[str]:
        """Run a command as root on a host; a single argument is a shell line.

        Raises CommandFailed as `commands.run` does.
        """
        line = argv[0] if len(argv) == 1 else shlex.join(argv)
        command = ["ssh", "-F", str(self.ssh_config), host, *([line] if line else [])]
        return run(command, check=check, timeout_seconds=timeout_seconds)

    def answers(self, host: str) -> bool:
        """Whether the host takes a command over SSH now."""
        try:
            return self.ssh(host, "true", check=False, timeout_seconds=5).returncode == 0
        except CommandFailed:
            return False

    def wait_for(self, host: str, timeout_seconds: float) -> None:
        """Wait until the host takes a command. Raises LabError when it does not in time."""
        ends_at = time.monotonic() + timeout_seconds
        while not self.answers(host):
            if time.monotonic() > ends_at:
                raise LabError(f"{host} does not answer over SSH within {timeout_seconds:g} s")
            time.sleep(0.1)

    def get(self, address: str, path: str) -> str:
        """What a web server in the lab answers, headers and all; empty when it does not."""
        target = f"TCP:{address}:80,connect-timeout=1"
        request = f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"
        socat = self.network.inside("socat", "-t", "2", "-T", "2", "-", target)
        try:
            return run(socat, stdin=request, check=False, timeout_seconds=5).stdout
        except CommandFailed:
            return ""

    def proxy(self, address: str, port: str) -> list[str]:
        """The command that connects its standard input and output to that port."""
        return self.network.inside("socat", "-", f"TCP:{address}:{port}")

    def _ssh_config(self) -> str:
        named = [(host.name, host.fqdn, host.address) for host in self.hosts]
        blocks = [
            f"Host {name} {fqdn}\n HostName {address}\n"
            for name, fqdn, address in [*named, ("engine", "engine.lab", ENGINE_ADDRESS)]
        ]
        options = (
            "User root",
            f"IdentityFile {self.keys.private('client')}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {self.known_hosts}",
            "GlobalKnownHostsFile none",
            "StrictHostKeyChecking yes",
            "BatchMode yes",
            "ConnectTimeout 3",
            "ServerAliveInterval 5",
            "LogLevel ERROR",
            f"ProxyCommand {shlex.join(self.proxy('%h', '%p'))}",
        )
        return "".join(blocks) + "Host *\n" + "".join(f" {option}\n" for option in options)

    def _inventory(self, title: str) -> str:
        # A JSON string is a TOML basic string, too.
        ssh = {
            "user": "root",
            "key_file": str(self.keys.private("client")),
            "known_hosts": str(self.known_hosts),
            "proxy_command": self.proxy("{address}", "{port}"),
        }
        lines = [f"[clusters.lab]\ntitle = {json.dumps(title)}\n", "[clusters.lab.ssh]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in ssh.items()]
        # bindfs stands for NFS here, and libvirt does not know it for shared storage.
        lines += ["\n[clusters.lab.migration]", 'uri = "qemu+tcp://{host}/system"']
        lines += ['data_uri = "tcp://{address}"', "unsafe = true"]
        lines += ["\n[clusters.lab.engine]", f"address = {json.dumps(ENGINE_ADDRESS)}"]
        for host in self.hosts:
            lines += [
                "\n[[clusters.lab.hosts]]",
                f"name = {json.dumps(host.name)}",
                f"address = {json.dumps(host.address)}",
                f"port = 22\nhost_id = {host.host_id}",
            ]
        return "\n".join(lines) + "\n"
