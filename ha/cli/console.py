"""`--add-console-password` and `--console`: a way to the screen and the serial line of the VM.

The password comes from the environment or a terminal. On the command line everybody on the host
could read it while the command runs, which upstream's option allows.
"""

from collections.abc import Mapping

from ha.cli.host import Host, Refused, Terminal
from ha.config import ConfigError
from ha.core.sighting import VmState
from ha.env.console_port import VncServer
from ha.env.ports import VmMissing, VmTrouble

VARIABLE = "OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD"
VALID_SECONDS = 120.0
PORT_LIMIT_SECONDS = 30.0
NOT_HERE = "The engine VM is not on this host"
# VNC's authentication is DES with the password as its key (RFC 6143, 7.2.2).
LONGEST_PASSWORD = 8
_POLL_SECONDS = 1.0
_EVERYWHERE = ("", "0.0.0.0", "::")


def add_console_password(host: Host, options: Mapping[str, str]) -> None:
    """Set a VNC password for 120 s; exit code 0 means that libvirt has it, and the port is told."""
    if "password" in options:
        raise Refused(
            "A password on the command line shows in ps to everybody on this host, so --password"
            f" is not taken: set it in the environment as {VARIABLE}, or type it on a terminal"
        )
    password = _password(host.terminal)
    try:
        server = _await_port(host)
        until = host.clock.wall() + VALID_SECONDS
        host.console.set_vnc_password(password, valid_until=until)
    except VmMissing as error:
        raise Refused(f"{NOT_HERE}: {host.name}") from error
    except VmTrouble as error:
        raise Refused(f"The console password was not set: {error}") from error
    host.say(f"The VNC password is set and valid for {VALID_SECONDS:.0f} seconds")
    host.say(f"VNC listens at {_join(server.address or '0.0.0.0', server.port)} on {host.name}")
    host.say(
        "You can now connect the hosted-engine VM with VNC at"
        f" {_join(_reachable(host, server), server.port)}"
    )


def console(host: Host, options: Mapping[str, str]) -> None:
    """Connect this terminal with the VM's serial console."""
    del options
    state = host.engine_vm.sighting().state
    if state in (VmState.MISSING, VmState.DOWN):
        raise Refused(f"{NOT_HERE}: {host.name}")
    if state is VmState.UNKNOWN:
        raise Refused("libvirt does not answer: it is not known whether the engine VM is here")
    if host.terminal.ask is None:
        raise Refused("The serial console needs a terminal; over SSH: ssh -t")
    host.say("Connecting to the engine VM's serial console; leave it with ^]")
    if code := host.console.attach_serial():
        raise Refused(f"virsh console HostedEngine ended with exit code {code}")


def _password(terminal: Terminal) -> str:
    password = terminal.environment.get(VARIABLE, "")
    if not password:
        if terminal.ask is None:
            raise Refused(f"No password: set it in {VARIABLE}, or run this on a terminal")
        password = terminal.ask(f"Console password (at most {LONGEST_PASSWORD} characters): ")
    if not password:
        raise Refused("An empty password would let nobody in: give one")
    if len(password) > LONGEST_PASSWORD:
        raise Refused(
            f"VNC takes {LONGEST_PASSWORD} characters at most, and this password has"
            f" {len(password)}: give a shorter one"
        )
    if not password.isascii() or not password.isprintable():
        raise Refused("VNC takes printable ASCII characters only: give another password")
    return password


def _await_port(host: Host) -> VncServer:
    deadline = host.clock.monotonic() + PORT_LIMIT_SECONDS
    while (server := host.console.vnc()) is None:
        if host.clock.monotonic() >= deadline:
            raise Refused("Failed detecting VNC port")
        host.clock.sleep(_POLL_SECONDS)
    return server


def _reachable(host: Host, server: VncServer) -> str:
    """The address to connect to: a server that listens everywhere has this host's own."""
    if server.address not in _EVERYWHERE:
        return server.address
    try:
        return host.address_of(host.conf().bridge) or host.name
    except ConfigError:
        return host.name


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
