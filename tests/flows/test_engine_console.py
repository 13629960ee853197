"""engine-console, whole, on fake hosts; and that the password is nowhere but where it must be."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.engine_console import engine_console
from tasks import console_password
from tasks.console import NoTicket
from tasks.journal import Kind, Phase
from tasks.refusal import CheckRefused
from tasks.settings import Settings
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_host import FakeHost
from tests.fake_vm import add_vm


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    settings = Settings(home=tmp_path / "home")
    monkeypatch.setattr(console_password, "settings", lambda: settings)
    with fake_cluster(tmp_path, bad={}) as cluster:
        add_vm(cluster)
        yield cluster


@pytest.fixture
def h1(cluster: FakeCluster) -> FakeHost:
    return cluster.hosts["h1"]


def holders_of(folder: Path, secret: str) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if secret.encode() in path.read_bytes()]


def test_a_made_up_password_is_set_shown_by_its_place_and_forgotten(
    cluster: FakeCluster, h1: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    modes: list[int] = []

    def look(_argv: object) -> None:
        modes.extend(
            stat.S_IMODE(path.stat().st_mode) for path in (cluster.folder / "home").rglob("*")
        )

    cluster.hosts["h2"].before = look
    engine_console.fn("lab")
    password = h1.get("console-password")
    assert len(password) == 8
    assert set(modes) == {0o700, 0o600}
    # The host's libvirt has it, and nobody else: no journal, no step store, no file of ours.
    assert holders_of(cluster.folder, password) == [h1.root / "state/console-password"]
    assert password not in caplog.text
    assert cluster.world.clock.monotonic() >= 120


def test_each_run_makes_up_its_own(cluster: FakeCluster, h1: FakeHost) -> None:
    engine_console.fn("lab")
    first = h1.get("console-password")
    engine_console.fn("lab")
    assert h1.get("console-password") != first


def test_the_operators_own_password_comes_from_a_file(
    cluster: FakeCluster, h1: FakeHost, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.write_text("s3cret!!\n")
    engine_console.fn("lab", f"file:{own}")
    assert h1.get("console-password") == "s3cret!!"
    assert set(holders_of(cluster.folder, "s3cret!!")) == {own, h1.root / "state/console-password"}


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ("", "6 to 8 printable"),
        ("short", "6 to 8 printable"),
        ("ninechars", "6 to 8 printable"),
        ("with blank", "6 to 8 printable"),
        ("mit-ä-x", "6 to 8 printable"),
        (None, "cannot be read"),
    ],
)
def test_a_password_that_does_not_fit_is_refused(
    cluster: FakeCluster, h1: FakeHost, tmp_path: Path, held: str | None, told: str
) -> None:
    own = tmp_path / "own"
    if held is not None:
        own.write_text(held)
    with pytest.raises(CheckRefused, match=told) as refused:
        engine_console.fn("lab", f"file:{own}")
    assert not held or held not in str(refused.value)
    assert h1.calls("hosted-engine --add") == []


def test_a_password_as_the_parameter_is_refused(cluster: FakeCluster) -> None:
    with pytest.raises(CheckRefused, match="write file:/PATH or secret-block:NAME"):
        engine_console.fn("lab", "s3cret!!")


def test_without_a_running_vm_there_is_no_console(cluster: FakeCluster, h1: FakeHost) -> None:
    h1.run(("hosted-engine", "--vm-poweroff"))
    with pytest.raises(CheckRefused, match="no host runs the engine VM"):
        engine_console.fn("lab")


@pytest.mark.parametrize(
    ("trouble", "told"), [("fips", "FIPS mode.*serial console"), ("no-vnc", "nobody speaks VNC")]
)
def test_a_password_that_was_not_set_is_no_ticket(
    cluster: FakeCluster, h1: FakeHost, trouble: str, told: str
) -> None:
    for host in cluster.hosts.values():
        host.set(trouble, "")
    with pytest.raises(NoTicket, match=told):
        engine_console.fn("lab")


def test_a_witness_that_does_not_reach_it_is_not_needed(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].set("no-vnc", "")
    engine_console.fn("lab")
    journal = cluster.world.journal
    run = journal.runs("lab")[0]
    entry = journal.find(run.run_id, Kind.WAIT, "read_ticket@h1", Phase.OUTCOME)
    assert entry is not None
    assert (entry.payload["value"]["address"], entry.payload["value"]["port"]) == (
        "192.0.2.1",
        5901,
    )


def test_the_tunnel_is_told(cluster: FakeCluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    engine_console.fn("lab")
    for wanted in (
        "-N -L 5900:192.0.2.1:5901 root@192.0.2.1",
        "remote-viewer vnc://localhost:5900",
        "-t root@192.0.2.1 hosted-engine --console",
        "home/console/",
    ):
        assert wanted in caplog.text
