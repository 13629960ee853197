"""A world of its own for each test: a journal below tmp_path, and shells on this machine."""

import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

# Before Prefect is imported: it writes results and profiles below its home.
os.environ.setdefault("PREFECT_HOME", tempfile.mkdtemp(prefix="prefect-home-"))
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

import pytest
from prefect.testing.utilities import prefect_test_harness

from tasks.env import LostContact, Ran, SystemClock, World, use_world
from tasks.inventory import Inventory
from tasks.journal import Journal
from tasks.shell import SshShell
from tests.tasks.postgres import Postgres, binaries, running_postgres
from tests.tasks.real_sshd import SSHD, Sshd, running_sshd
from tests.tasks.signed_gate import SIGNED, TWO, under
from tests.tasks.signing import Person, make_person
from tests.tasks.tampering import fill

INVENTORY = """
[clusters.lab.ssh]
key_file = "/nonexistent/key"
known_hosts = "/nonexistent/known_hosts"
[[clusters.lab.hosts]]
name = "h1"
address = "127.0.0.1"
host_id = 1
[[clusters.lab.hosts]]
name = "h2"
address = "127.0.0.2"
host_id = 2
"""


@dataclass
class LocalShell:
    """Runs commands on this machine; `lose` makes the next ones lose contact (before or after)."""

    host: str = "h1"
    lose: list[str] = field(default_factory=list)
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_seconds: float = 30.0
    ) -> Ran:
        when = self.lose.pop(0) if self.lose else ""
        if when == "before":
            raise LostContact(f"{self.host}: planted, before")
        done = subprocess.run(
            list(argv),
            input=stdin or b"",
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
        self.ran.append(tuple(argv))
        if when == "after":
            raise LostContact(f"{self.host}: planted, after")
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return Ran(self.host, tuple(argv), done.returncode, out, err)


@dataclass
class SkippingClock:
    """A clock whose sleeps take no time."""

    at: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.at + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(f"sqlite:///{tmp_path / 'journal.db'}")


@pytest.fixture
def shell() -> LocalShell:
    return LocalShell()


@pytest.fixture
def clock() -> SkippingClock:
    return SkippingClock()


@pytest.fixture
def small_world(
    tmp_path: Path, journal: Journal, shell: LocalShell, clock: SkippingClock
) -> Iterator[World]:
    """A world in force whose hosts are all this machine, with a clock that skips."""
    put = World(
        shells=lambda cluster, host: shell,
        journal=journal,
        inventory=Inventory.parse(INVENTORY, "inventory.toml"),
        clock=clock,
        step_store=tmp_path / "steps",
    )
    with use_world(put):
        yield put


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    """A Prefect server of its own for the tests that need one; about ten seconds, once."""
    with prefect_test_harness(server_startup_timeout=90):
        yield


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A real sshd for the session."""
    if not Path(SSHD).exists():
        pytest.skip("no sshd here (Debian package openssh-server)")
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def ssh_shell(sshd: Sshd) -> Iterator[SshShell]:
    """A shell over that sshd."""
    made = sshd.shell()
    yield made
    made.close()


@pytest.fixture
def real_time(small_world: World) -> Iterator[World]:
    with use_world(replace(small_world, clock=SystemClock())) as put:
        yield put


@pytest.fixture(scope="session")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return make_person(tmp_path_factory.mktemp("ann"), "ann@example.org")


@pytest.fixture(scope="session")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return make_person(tmp_path_factory.mktemp("bob"), "bob@example.org")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for the session."""
    if binaries() is None:
        pytest.skip("no PostgreSQL server here (Debian package postgresql)")
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new journal, in each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'journal.db'}"
    return request.getfixturevalue("postgres").new_url()


@pytest.fixture(scope="session")
def eve(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Return somebody whose key is in no file."""
    return make_person(tmp_path_factory.mktemp("eve"), "eve@example.org")


@pytest.fixture
def signers(tmp_path: Path, ann: Person, bob: Person) -> Path:
    path = tmp_path / "allowed_signers"
    path.write_text("# who may approve\n\n" + ann.line() + bob.line())
    return path


@pytest.fixture
def strict(real_time: World, signers: Path) -> World:
    return under(real_time, SIGNED, signers)


@pytest.fixture
def two(real_time: World, signers: Path) -> World:
    return under(real_time, TWO, signers)


@pytest.fixture
def whole(journal: Journal) -> Journal:
    """Eight entries of two runs."""
    return fill(journal)


@pytest.fixture
def raw(tmp_path: Path) -> sqlite3.Connection:
    """The same journal's file, without this program."""
    return sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
