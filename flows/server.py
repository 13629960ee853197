"""The Prefect server of this machine: where it keeps its files and how every process reaches it."""

import fcntl
import json
import os
import secrets
import socket
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

HOST = "127.0.0.1"
DEFAULT_PORT = 4200
TAG = "runbook"


class ServeRefused(Exception):
    """The server cannot be started or stopped now; the text says why and what to do."""


class NoServer(Exception):
    """No server answers for this home; the text says how to start one."""


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one home."""

    home: Path

    @property
    def prefect_home(self) -> Path:
        return self.home / "prefect"

    @property
    def credentials(self) -> Path:
        return self.home / "credentials"

    @property
    def record(self) -> Path:
        return self.home / "server.json"

    @property
    def lock(self) -> Path:
        return self.home / "serve.lock"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def temporary(self) -> Path:
        return self.home / "tmp"


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """What `server.json` says: where the server is and which processes serve it."""

    url: str
    ui_url: str
    port: int
    supervisor_pid: int
    server_pid: int | None = None
    runner_pid: int | None = None
    ready: bool = False
    inventory: str = ""  # the file that the runs read


def make_place(home: Path) -> Place:
    """Create the directories of a home, closed to other users."""
    place = Place(home.absolute())
    for folder in (place.home, place.prefect_home, place.logs, place.temporary):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ServeRefused(
                f"cannot create {folder}: {error.strerror}; "
                "set RUNBOOKS_HOME to a directory that you may write"
            ) from error
    return place


def credentials(place: Place) -> str:
    """Return `user:password` of this home's server, made on first use and kept at mode 0600."""
    try:
        handle = os.open(place.credentials, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return read_credentials(place)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"runbook:{secrets.token_urlsafe(24)}\n")
        file.flush()
        os.fsync(file.fileno())
    return read_credentials(place)


def read_credentials(place: Place) -> str:
    """Return the stored credentials; refuse a file that other users can read."""
    try:
        return closed_file(place.credentials)
    except FileNotFoundError:
        raise NoServer(f"no server was started here yet ({place.home}): `runbook serve`") from None


def closed_file(file: Path) -> str:
    """Return what a file of secrets holds; refuse one that other users can read.

    Raises NoServer, ServeRefused, FileNotFoundError.
    """
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text("ascii").strip()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NoServer(
            f"cannot read {file}: {error.strerror}; run as the user who serves"
        ) from error
    if mode & 0o077:
        raise ServeRefused(
            f"{file} can be read by other users (mode {mode:04o}); run: chmod 600 {file}"
        )
    return text


def choose_port(wanted: int) -> int:
    """Return a port to serve on; 0 asks for any free one.  Raises ServeRefused if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise ServeRefused(
                f"port {wanted} on {HOST}: {error.strerror}; "
                "another program uses it: choose one with --port, or --port 0 for any free one"
            ) from error
        return int(probe.getsockname()[1])


def write_record(place: Place, record: ServerRecord) -> None:
    """Replace `server.json` in one step."""
    fresh = place.record.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(record), indent=1) + "\n")
    fresh.replace(place.record)


def read_record(place: Place) -> ServerRecord:
    """Return what `server.json` says.  Raises NoServer if nobody serves this home."""
    try:
        return ServerRecord(**json.loads(place.record.read_text()))
    except (OSError, ValueError, TypeError):
        raise NoServer(f"no server runs for {place.home}: start it with `runbook serve`") from None


def serving_pid(place: Place) -> int | None:
    """Return the id of the process that serves this home; None if nobody does.

    The lock tells, not the file: a process that was killed cannot leave it held.
    """
    try:
        handle = os.open(place.lock, os.O_RDWR)
    except OSError:
        return None
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read().strip() or "0")
    return None


def take_lock(place: Place) -> int:
    """Become the one who serves this home; return the open lock.  Raises ServeRefused."""
    handle = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ServeRefused(
            f"{place.home} is served already by process {serving_pid(place)}; "
            "stop it with `runbook serve --stop`, or look at `runbook status`"
        ) from None
    os.truncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle


def lock_is_ours(place: Place, lock: int) -> bool:
    """Tell whether an open lock is still the home's: a home can be removed under its server."""
    try:
        return place.lock.stat().st_ino == os.fstat(lock).st_ino
    except FileNotFoundError:
        return False
