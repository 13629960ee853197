"""`--add-console-password` and `--console`: who may look, where, for how long; never 0 for a no."""

import pytest

from ha.core.sighting import VmState
from ha.env.console_port import VncServer
from ha.env.ports import VmMissing, VmTrouble, VmUnreachable
from tests.ha.cli.sim import SimHost

VERB = "--add-console-password"
PASSWORD = "s3cret12"


@pytest.fixture
def asked(host: SimHost) -> SimHost:
    """A host with the password in the environment, and the VM."""
    host.environment["OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD"] = PASSWORD
    host.vm.state = VmState.UP
    return host


def test_a_password_from_the_environment(asked: SimHost) -> None:
    assert asked.run(VERB) == 0, asked.complained
    assert asked.console.tickets == [(PASSWORD, asked.clock.now + 120)]
    assert asked.out == [
        "The VNC password is set and valid for 120 seconds",
        "VNC listens at 0.0.0.0:5900 on h1",
        "You can now connect the hosted-engine VM with VNC at 10.88.0.11:5900",
    ]


def test_a_password_from_the_terminal(host: SimHost) -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return PASSWORD

    host.ask = ask
    assert host.run(VERB) == 0, host.complained
    assert host.console.tickets[0][0] == PASSWORD
    assert asked == ["Console password (at most 8 characters): "]


def test_the_password_is_never_printed(asked: SimHost) -> None:
    asked.console.refuses = VmTrouble("libvirt did not take the VNC password of HostedEngine")
    for _ in range(2):
        asked.run(VERB)
        assert PASSWORD not in asked.said + asked.complained
        asked.console.refuses = None


@pytest.mark.parametrize("option", ["--password=s3cret12", "--password="])
def test_a_password_on_the_command_line_is_refused(asked: SimHost, option: str) -> None:
    """Upstream takes it, and ps shows it to everybody on the host."""
    assert asked.run(VERB, option) == 1
    assert asked.console.tickets == []
    assert PASSWORD not in asked.complained


def test_the_refusal_says_why_and_what_instead(asked: SimHost) -> None:
    asked.run(VERB, "--password=x")
    assert "shows in ps" in asked.complained
    assert "OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD" in asked.complained


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("", "No password: set it in OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD"),
        ("123456789", "VNC takes 8 characters at most, and this password has 9"),
        ("pässword", "printable ASCII"),
        ("a\nb", "printable ASCII"),
    ],
)
def test_passwords_that_vnc_cannot_have(asked: SimHost, password: str, says: str) -> None:
    asked.environment["OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD"] = password
    assert asked.run(VERB) == 1
    assert says in asked.complained
    assert asked.console.tickets == []


def test_an_empty_answer_on_the_terminal(host: SimHost) -> None:
    host.ask = lambda prompt: ""
    assert host.run(VERB) == 1
    assert "An empty password" in host.complained


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (VmMissing("HostedEngine"), "The engine VM is not on this host: h1"),
        (VmUnreachable("libvirt does not answer"), "was not set: libvirt does not answer"),
    ],
)
def test_a_vm_that_is_not_here_is_no_success(asked: SimHost, trouble: Exception, says: str) -> None:
    asked.console.trouble = trouble
    assert asked.run(VERB) == 1
    assert says in asked.complained
    assert asked.out == []


def test_a_password_that_libvirt_does_not_take(asked: SimHost) -> None:
    asked.console.refuses = VmTrouble("no VNC server")
    assert asked.run(VERB) == 1
    assert asked.complained == "The console password was not set: no VNC server"
    assert asked.out == []


def test_the_port_is_waited_for(asked: SimHost) -> None:
    """The 120 seconds begin when there is something to connect to."""
    asked.console.looks = [None, None, VncServer("127.0.0.1", 5907)]
    began = asked.clock.now
    assert asked.run(VERB) == 0
    assert asked.console.tickets == [(PASSWORD, began + 2 + 120)]
    assert asked.out[-1].endswith("with VNC at 127.0.0.1:5907")


def test_a_port_that_never_comes(asked: SimHost) -> None:
    asked.console.looks = [None]
    began = asked.clock.now
    assert asked.run(VERB) == 1
    assert asked.complained == "Failed detecting VNC port"
    assert asked.clock.now - began == 30
    assert asked.console.tickets == []


@pytest.mark.parametrize(
    ("bound", "bridge", "told"),
    [
        ("0.0.0.0", "10.88.0.11", "10.88.0.11:5900"),
        ("::", "10.88.0.11", "10.88.0.11:5900"),
        ("", "", "h1:5900"),
        ("127.0.0.1", "10.88.0.11", "127.0.0.1:5900"),
        ("fd00::1", "10.88.0.11", "[fd00::1]:5900"),
    ],
)
def test_the_real_address_is_told(asked: SimHost, bound: str, bridge: str, told: str) -> None:
    asked.console.looks = [VncServer(bound, 5900)]
    asked.addresses["ovirtmgmt"] = bridge
    assert asked.run(VERB) == 0
    assert asked.out[-1] == f"You can now connect the hosted-engine VM with VNC at {told}"


def test_the_serial_console(asked: SimHost) -> None:
    asked.ask = lambda prompt: ""
    assert asked.run("--console") == 0
    assert asked.console.attached == 1


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (VmState.MISSING, "The engine VM is not on this host: h1"),
        (VmState.DOWN, "The engine VM is not on this host: h1"),
        (VmState.UNKNOWN, "libvirt does not answer"),
    ],
)
def test_a_serial_console_of_a_vm_that_is_not_here(
    asked: SimHost, state: VmState, says: str
) -> None:
    """Upstream says so and ends with 0."""
    asked.ask = lambda prompt: ""
    asked.vm.state = state
    assert asked.run("--console") == 1
    assert says in asked.complained
    assert asked.console.attached == 0


def test_a_serial_console_needs_a_terminal(asked: SimHost) -> None:
    assert asked.run("--console") == 1
    assert "ssh -t" in asked.complained
    assert asked.console.attached == 0


def test_a_serial_console_that_virsh_refuses(asked: SimHost) -> None:
    asked.ask = lambda prompt: ""
    asked.console.exit_code = 1
    assert asked.run("--console") == 1
    assert "exit code 1" in asked.complained
