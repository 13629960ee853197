"""The shell against a real sshd on 127.0.0.1, started by the test as the current user."""

import base64
import hashlib
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.env import (
    AccessRefused,
    CommandFailed,
    HostKeyRefused,
    HostUnreachable,
    LostContact,
    NoAnswer,
)
from tasks.inventory import Inventory, InventoryError
from tasks.shell import ShellPool, SshShell
from tests.tasks.real_sshd import QUICK, Sshd, make_key


def test_each_argument_arrives_as_it_is(ssh_shell: SshShell) -> None:
    hostile = ["a b", "$HOME", "`id`", "'", '"', "", "*", "-n", "é", "l\nm"]
    ran = ssh_shell.run(["printf", "<%s>", *hostile])
    assert ran.stdout == "".join(f"<{word}>" for word in hostile)
    assert (ran.host, ran.exit_code) == ("h1", 0)


def test_any_exit_code_comes_back_and_checked_tells_it(ssh_shell: SshShell) -> None:
    ran = ssh_shell.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (3, "out\n", "err\n")
    with pytest.raises(CommandFailed, match="h1: `sh -c .* ended with exit code 3: err"):
        ran.checked()


def test_a_command_that_reads_its_input_ends(ssh_shell: SshShell) -> None:
    assert ssh_shell.run(["cat"], timeout_seconds=5).stdout == ""


def test_a_whiteboard_of_garbage_is_read_in_time(ssh_shell: SshShell) -> None:
    script = (
        "f=/tmp/$$.garbage; head -c 8196096 /dev/urandom | base64 >$f; cat $f;"
        " sha256sum <$f >&2; rm $f"
    )
    ran = ssh_shell.run(["sh", "-c", script], timeout_seconds=60)
    assert len(ran.stdout) > 8196096
    assert hashlib.sha256(ran.stdout.encode()).hexdigest() == ran.stderr.split()[0]


def test_little_data_can_be_fed(ssh_shell: SshShell) -> None:
    data = bytes(range(256)) * 64
    ran = ssh_shell.run(["od", "-An", "-v", "-tx1"], stdin=data)
    assert bytes.fromhex("".join(ran.stdout.split())) == data
    with pytest.raises(ValueError, match="limited to 65536"):
        ssh_shell.run(["cat"], stdin=b"x" * 65_537)


# Every process of the machine, while the command that was given the data is at work.
PROCESSES = 'data=$(cat); cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "; echo "${#data}"'


def test_what_is_fed_is_in_no_argument_on_the_host(ssh_shell: SshShell) -> None:
    secret = b"planted-secret-of-the-console"
    told = ssh_shell.run(["sh", "-c", PROCESSES, "look"], stdin=secret).checked().stdout
    assert "look" in told
    assert told.endswith(f"{len(secret)}\n")
    for form in (secret.decode(), base64.b64encode(secret).decode(), secret.hex()):
        assert form not in told


def test_a_command_that_does_not_read_what_it_is_fed_is_judged_by_its_exit_code(
    ssh_shell: SshShell,
) -> None:
    for code in (0, 3) * 5:
        ran = ssh_shell.run(["sh", "-c", f"echo x; exit {code}"], stdin=b"x" * 65_536)
        assert (ran.exit_code, ran.stdout) == (code, "x\n")


def test_a_fed_command_without_an_end_is_given_up(ssh_shell: SshShell) -> None:
    started = time.monotonic()
    with pytest.raises(NoAnswer, match="no end within 1 s"):
        ssh_shell.run(["sleep", "20"], stdin=b"x" * 65_536, timeout_seconds=1)
    assert time.monotonic() - started < 6
    assert ssh_shell.run(["cat"], stdin=b"back").stdout == "back"


def test_nothing_to_feed_is_an_end_of_input(ssh_shell: SshShell) -> None:
    assert ssh_shell.run(["wc", "-c"], stdin=b"", timeout_seconds=5).stdout.strip() == "0"


def test_the_connection_is_kept(sshd: Sshd, ssh_shell: SshShell) -> None:
    ports = {ssh_shell.run(["sh", "-c", "echo $SSH_CONNECTION"]).stdout for _ in range(3)}
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
    with suppress(LostContact):  # the end of the proxy may be seen before the command is sent
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
