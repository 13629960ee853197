"""The shell against a real sshd on 127.0.0.1, started by the test as the current user."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tasks.env import (
    AccessRefused,
    CommandFailed,
    HostKeyRefused,
    HostUnreachable,
    LostContact,
    NoAnswer,
    SystemClock,
    World,
    use_world,
)
from tasks.inventory import Host, Inventory, InventoryError, Ssh
from tasks.shell import ShellLimits, ShellPool, SshShell
from tasks.steps import StepLost, run_once

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
pytestmark = pytest.mark.skipif(not Path(SSHD).exists(), reason="no sshd here")
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


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    where, port = tmp_path_factory.mktemp("sshd"), free_port()
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
    yield Sshd(port, process, where)
    process.terminate()
    process.wait()


@pytest.fixture
def shell(sshd: Sshd) -> Iterator[SshShell]:
    made = sshd.shell()
    yield made
    made.close()


def test_each_argument_arrives_as_it_is(shell: SshShell) -> None:
    hostile = ["a b", "$HOME", "`id`", "'", '"', "", "*", "-n", "é", "l\nm"]
    ran = shell.run(["printf", "<%s>", *hostile])
    assert ran.stdout == "".join(f"<{word}>" for word in hostile)
    assert (ran.host, ran.exit_code) == ("h1", 0)


def test_any_exit_code_comes_back_and_checked_tells_it(shell: SshShell) -> None:
    ran = shell.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (3, "out\n", "err\n")
    with pytest.raises(CommandFailed, match="h1: `sh -c .* ended with exit code 3: err"):
        ran.checked()


def test_a_command_that_reads_its_input_ends(shell: SshShell) -> None:
    assert shell.run(["cat"], timeout_seconds=5).stdout == ""


def test_little_data_can_be_fed(shell: SshShell) -> None:
    data = bytes(range(256)) * 64
    ran = shell.run(["od", "-An", "-v", "-tx1"], stdin=data)
    assert bytes.fromhex("".join(ran.stdout.split())) == data
    with pytest.raises(ValueError, match="limited to 65536"):
        shell.run(["cat"], stdin=b"x" * 65_537)


def test_the_connection_is_kept(sshd: Sshd, shell: SshShell) -> None:
    ports = {shell.run(["sh", "-c", "echo $SSH_CONNECTION"]).stdout for _ in range(3)}
    assert len(ports) == 1


def test_an_unknown_host_key_is_refused_with_the_way_to_add_it(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "none").touch()
    with pytest.raises(HostKeyRefused, match=r"not in .*none; .*ssh-keygen -lf"):
        sshd.shell(known_hosts=tmp_path / "none").run(["true"])
    assert (tmp_path / "none").read_text() == ""


def test_a_changed_host_key_is_refused_with_both_prints(sshd: Sshd, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    (tmp_path / "known").write_text(f"[127.0.0.1]:{sshd.port} {other}")
    with pytest.raises(HostKeyRefused, match=r"SHA256:.* is not .*SHA256:.*-R '\[127.0.0.1\]"):
        sshd.shell(known_hosts=tmp_path / "known").run(["true"])


def test_a_missing_known_hosts_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(HostKeyRefused, match="cannot read"):
        sshd.shell(known_hosts=tmp_path / "gone").run(["true"])


def test_a_key_that_is_not_let_in_is_told(sshd: Sshd) -> None:
    with pytest.raises(AccessRefused, match="authorized_keys"):
        sshd.shell(key_file=sshd.dir / "stranger").run(["true"])


def test_an_unreachable_host_is_told_with_what_to_look_at(sshd: Sshd) -> None:
    host = Host(name="h9", address="127.0.0.1", port=free_port(), host_id=9)
    with pytest.raises(HostUnreachable, match=r"h9 \(127.0.0.1, port \d+\): no SSH connection"):
        SshShell(host, sshd.ssh(), QUICK).run(["true"])


def test_a_name_that_does_not_resolve_is_told(sshd: Sshd) -> None:
    host = Host(name="h9", address="h9.invalid", host_id=9)
    with pytest.raises(HostUnreachable, match="h9.invalid"):
        SshShell(host, sshd.ssh(), QUICK).run(["true"])


def test_a_server_that_never_says_a_word_is_given_up(sshd: Sshd) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        host = Host(name="h9", address="127.0.0.1", port=mute.getsockname()[1], host_id=9)
        started = time.monotonic()
        with pytest.raises(HostUnreachable):
            SshShell(host, sshd.ssh(), QUICK).run(["true"])
        assert time.monotonic() - started < 8


def test_a_stalled_sshd_is_given_up_and_found_again(sshd: Sshd, shell: SshShell) -> None:
    shell.run(["true"])
    stalled = sshd.sessions()
    for pid in stalled:
        os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(LostContact):
            shell.run(["true"], timeout_seconds=3)
        assert time.monotonic() - started < 12
        assert shell.run(["echo", "back"]).stdout == "back\n"
    finally:
        for pid in stalled:
            os.kill(pid, signal.SIGCONT)


def test_a_command_without_an_end_is_given_up(shell: SshShell) -> None:
    started = time.monotonic()
    with pytest.raises(NoAnswer, match="no end within 1 s; it may still be running"):
        shell.run(["sleep", "20"], timeout_seconds=1)
    assert time.monotonic() - started < 6
    assert shell.run(["echo", "back"]).stdout == "back\n"


def test_a_session_killed_while_a_command_runs_is_lost_contact(sshd: Sshd, shell: SshShell) -> None:
    shell.run(["true"])
    before_seconds = 0.7
    threading.Timer(before_seconds, kill_sessions, [sshd]).start()
    with pytest.raises(LostContact, match="contact lost while `sleep 20` ran"):
        shell.run(["sleep", "20"], timeout_seconds=15)
    assert shell.run(["echo", "back"]).stdout == "back\n"


def kill_sessions(sshd: Sshd) -> None:
    for pid in sshd.sessions():
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        if name.startswith("sshd"):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def steps_world(small_world: World) -> Iterator[World]:
    with use_world(replace(small_world, clock=SystemClock())) as put:
        yield put


@pytest.mark.usefixtures("steps_world")
def test_a_step_goes_on_when_its_session_is_killed_and_runs_once(
    sshd: Sshd, shell: SshShell, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    argv = ["sh", "-c", 'echo x >>"$1"; sleep 3; echo done', "_", str(count)]
    threading.Timer(1.2, kill_sessions, [sshd]).start()
    result = run_once(shell, argv, step="add", timeout_seconds=30, run_id="r1")
    assert result.stdout == "done\n"
    assert count.read_text() == "x\n"


@pytest.mark.usefixtures("steps_world")
def test_a_killed_step_is_lost(shell: SshShell, tmp_path: Path) -> None:
    pid_file = tmp_path / "steps" / "r1.kill" / "pid"

    def kill() -> None:
        os.killpg(int(pid_file.read_text().split()[0]), signal.SIGKILL)

    threading.Timer(1.5, kill).start()
    with pytest.raises(StepLost, match="h1: step r1.kill"):
        run_once(shell, ["sleep", "30"], step="kill", timeout_seconds=20, run_id="r1")


PROXY = """
import os, socket, sys, threading
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def up():
    while data := os.read(0, 65536):
        s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536):
    os.write(1, data)
"""


def test_a_proxy_command_carries_the_connection_and_ends_with_it(sshd: Sshd) -> None:
    proxy = (sys.executable, "-c", PROXY, "{address}", "{port}")
    shell = sshd.shell(proxy_command=proxy)
    assert shell.run(["echo", "through"]).stdout == "through\n"
    started = shell._proxy
    assert started is not None
    started.kill()
    started.wait()
    with pytest.raises(LostContact):
        shell.run(["true"])
    assert shell.run(["echo", "again"]).stdout == "again\n"
    again = shell._proxy
    shell.close()
    assert again is not None
    assert again.poll() is not None


@pytest.mark.parametrize("proxy", [("/nonexistent/proxy",), ("false",)])
def test_a_proxy_command_that_does_not_work_is_told(sshd: Sshd, proxy: tuple[str, ...]) -> None:
    with pytest.raises(HostUnreachable, match="proxy.command"):
        sshd.shell(proxy_command=proxy).run(["true"])


def test_the_pool_keeps_one_shell_a_host(sshd: Sshd) -> None:
    hosts = [{"name": "h1", "address": "127.0.0.1", "port": sshd.port, "host_id": 1}]
    cluster = {"ssh": sshd.ssh().model_dump(), "hosts": hosts}
    pool = ShellPool(Inventory.model_validate({"clusters": {"lab": cluster}}), QUICK)
    assert pool.shell("lab", "h1") is pool.shell("lab", "h1")
    assert pool.shell("lab", "h1").run(["echo", "x"]).stdout == "x\n"
    pool.shell("lab", "h1").close()
    with pytest.raises(InventoryError):
        pool.shell("lab", "h9")
