"""A private PostgreSQL cluster of Debian's package on a UNIX socket, for a session of tests."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

LIMIT_SECONDS = 120


def binaries() -> Path | None:
    """The newest installed version's folder; Debian keeps it off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def server_user() -> list[str]:
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    return ["runuser", "-u", user, "--"]


@dataclass
class Postgres:
    """A running server; each database is one journal's."""

    folder: Path
    bin: Path
    numbers: Iterator[int] = field(default_factory=count)

    def new_url(self) -> str:
        name = f"journal{next(self.numbers)}"
        self.ran("createdb", "-h", str(self.folder), "-U", "runbooks", name)
        return f"postgresql+psycopg://runbooks@/{name}?host={self.folder}"

    def ran(self, program: str, *words: str) -> str:
        done = subprocess.run(
            [*server_user(), str(self.bin / program), *words],
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
            cwd="/",
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return done.stdout


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Make and start a server; nobody else can reach it, and nothing of it is left."""
    bin_folder = binaries()
    assert bin_folder is not None
    # Not pytest's folder: a socket's path is short, and the server's user must get there.
    folder = Path(tempfile.mkdtemp(prefix="rb-pg-"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir(mode=0o700)
    if user := server_user():
        shutil.chown(folder, user[2])
        shutil.chown(data, user[2])
    server = Postgres(folder, bin_folder)
    try:
        words = ("-U", "runbooks", "-A", "trust", "-E", "UTF8", "--no-sync", "-D", str(data))
        server.ran("initdb", *words)
        options = (
            f"-c listen_addresses='' -c unix_socket_directories={folder} -c max_connections=40"
        )
        words = ("-D", str(data), "-w", "-t", "90", "-l", str(folder / "log"), "-o", options)
        server.ran("pg_ctl", "start", *words)
        try:
            yield server
        finally:
            server.ran("pg_ctl", "stop", "-D", str(data), "-m", "immediate", "-w")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
