"""engine-console: how to connect, how long a ticket is valid, and what is left of its password."""

import base64
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest

from flows.engine_console import engine_console
from tasks import console_password
from tasks.cancelled import Cancellations
from tasks.console import PUT_PASSWORD
from tasks.env import world
from tasks.hosts import sh
from tasks.inventory import Host, Ssh
from tasks.journal import Kind, Phase
from tasks.runs import entered_run
from tasks.settings import Settings
from tasks.ssh_command import ssh_command
from tasks.steps import run_once
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import add_vm
from tests.tasks.conftest import LocalShell

BODY = engine_console.fn.__wrapped__  # type: ignore[attr-defined]


class Killed(BaseException):
    """Stands for the end of the run's process."""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    settings = Settings(home=tmp_path / "home")
    monkeypatch.setattr(console_password, "settings", lambda: settings)
    with fake_cluster(tmp_path, bad={}) as cluster:
        add_vm(cluster)
        yield cluster


def made_up(cluster: FakeCluster) -> list[Path]:
    return [path for path in (cluster.folder / "home").rglob("*") if path.is_file()]


def test_the_password_is_in_no_argument(cluster: FakeCluster) -> None:
    words: list[str] = []
    for host in cluster.hosts.values():
        host.before = words.extend
    engine_console.fn("lab")
    password = cluster.hosts["h1"].get("console-password")
    assert words
    for form in (password, base64.b64encode(password.encode()).decode()):
        assert not [word for word in words if form in word]


def test_a_cancelled_run_leaves_no_password_on_the_control_node(cluster: FakeCluster) -> None:
    with (
        mock.patch("tasks.console.run_once", side_effect=Killed),
        pytest.raises(Killed),
        entered_run("engine-console", parameters={"cluster": "lab"}, run_id="r1"),
    ):
        BODY("lab")
    assert [path.name for path in made_up(cluster)] == ["r1"]
    assert Cancellations().end("r1", "by Ann")
    assert made_up(cluster) == []


def test_what_a_dead_run_put_on_a_host_goes_by_itself(tmp_path: Path) -> None:
    shell = LocalShell()
    file = tmp_path / "run" / "console-r1"
    shell.run(sh(PUT_PASSWORD, str(file), "1"), stdin=b"first").checked()
    assert file.read_bytes() == b"first"
    assert file.stat().st_mode & 0o7777 == 0o600
    time.sleep(0.6)
    shell.run(sh(PUT_PASSWORD, str(file), "1"), stdin=b"second").checked()
    time.sleep(0.7)  # the first one's time is over
    assert file.read_bytes() == b"second"
    wait_gone(file)
    assert list(file.parent.iterdir()) == []


def wait_gone(file: Path) -> None:
    for _ in range(100):
        if not file.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{file} is still there")


def test_the_ticket_counts_from_its_setting_whatever_the_number_of_the_try(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """The step was lost at first, a person had it run again, and the run died for 50 seconds."""
    h1 = cluster.hosts["h1"]

    def by_second_try(*args: object, **kwargs: object) -> object:
        with mock.patch("tasks.steps._step", second_step):
            result = run_once(*args, **kwargs)  # type: ignore[arg-type]
        rc = Path(h1.here(result.place)).with_name("rc")
        assert "give_console_ticket+2" in str(rc)
        os.utime(rc, (time.time() - 50, time.time() - 50))
        return result

    from tasks.steps import _step as first_step  # noqa: PLC0415

    def second_step(*args: object) -> object:
        return replace(first_step(*args), number=2)  # type: ignore[arg-type]

    caplog.set_level("INFO")
    with mock.patch("tasks.console.run_once", by_second_try):
        engine_console.fn("lab")
    journal = world().journal
    run = journal.runs("lab")[0]
    entry = journal.find(run.run_id, Kind.WAIT, "read_ticket@h1", Phase.OUTCOME)
    assert entry is not None
    until = datetime.fromtimestamp(entry.payload["value"]["until"], UTC)
    began = world().clock.now() - timedelta(seconds=world().clock.monotonic())
    assert 65 <= (until - began).total_seconds() <= 70
    assert f"until **{until:%H:%M:%S} UTC**" in caplog.text


@pytest.mark.parametrize("port", [22, 2222])
@pytest.mark.parametrize("folder", ["plain", "with blank", "per%cent"])
def test_the_printed_command_leads_where_we_go(port: int, folder: str, tmp_path: Path) -> None:
    place = tmp_path / folder
    place.mkdir()
    host = Host(name="h1", address="192.0.2.1", port=port, host_id=1)
    ssh = Ssh(
        user="root",
        key_file=place / "key",
        known_hosts=place / "known_hosts",
        proxy_command=("nsenter", "--net=/run/a b", "sh", "-c", "nc '{address}' {port} # 5%"),
    )
    (place / "key").touch()
    line = ssh_command(host, ssh, "-G", "-F", "none")
    told = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    facts = dict(row.split(" ", 1) for row in told.splitlines() if " " in row)
    assert (facts["user"], facts["hostname"], facts["port"]) == ("root", "192.0.2.1", str(port))
    assert facts["identityfile"].replace("%%", "%") == str(place / "key")
    assert facts["userknownhostsfile"].strip('"').replace("%%", "%") == str(place / "known_hosts")
    proxy = facts["proxycommand"].replace("%%", "%")
    assert tuple(shlex.split(proxy)) == ssh.proxy_argv(host)


def test_the_way_to_the_console_names_key_and_known_hosts(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    engine_console.fn("lab")
    ssh = world().inventory.cluster("lab").ssh
    ways = {line for line in caplog.text.splitlines() if line.startswith("ssh ")}
    assert len(ways) == 2
    for way in ways:
        assert str(ssh.key_file) in way
        assert f"UserKnownHostsFile={ssh.known_hosts}" in way
