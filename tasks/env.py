"""What tasks need from the world: a shell a host, a clock, the journal, the inventory.

`world()` returns it. Tests put another one in place: `with use_world(World(...)): ...`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tasks.policy import Policy

if TYPE_CHECKING:
    from tasks.inventory import Inventory
    from tasks.journal import Journal

STEP_STORE = Path("/var/lib/hosted-engine-runbooks/steps")


class ShellError(Exception):
    """A host could not be asked; the message names host, command and what to do next."""


class LostContact(ShellError):
    """Contact was lost while a command ran: whether it ended is unknown. May be tried again."""


class NoAnswer(LostContact):
    """A command gave no end within its time; it may still be running on the host."""


class HostUnreachable(LostContact):
    """No connection to the host could be made: refused, no route, no name, or no SSH banner."""


class HostKeyRefused(ShellError):
    """The host showed a key that is unknown or differs from the known one. Never tried again."""


class AccessRefused(ShellError):
    """The host did not accept our user or key. Never tried again."""


class CommandFailed(ShellError):
    """A command ended with an exit code that its caller does not accept."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended on a host."""

    host: str
    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    def checked(self) -> "Ran":
        """Return this result if the exit code is 0.

        Raises: CommandFailed, naming host, command, exit code and the end of the output.
        """
        if self.exit_code == 0:
            return self
        said = (self.stderr.strip() or self.stdout.strip() or "no output")[-500:]
        raise CommandFailed(
            f"{self.host}: `{' '.join(self.argv)[:200]}` ended with exit code {self.exit_code}:"
            f" {said}"
        )


class Shell(Protocol):
    """Runs commands on one host."""

    @property
    def host(self) -> str:
        """Return the host's name in the inventory."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_seconds: float = 30.0
    ) -> Ran:
        """Run a command, each argument passed as it is; any exit code is returned.

        Raises: LostContact (and its kinds HostUnreachable, NoAnswer), HostKeyRefused,
        AccessRefused. `stdin` is for little data only (64 KiB).
        """


class Clock(Protocol):
    """The two clocks of the control node."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""

    def now(self) -> datetime:
        """Return the wall time, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """This machine's clocks."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the wall time, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class World:
    """All that tasks touch. `ask`, if given, answers gates in Prefect's place (tests)."""

    shells: Callable[[str, str], Shell]
    journal: "Journal"
    inventory: "Inventory"
    clock: Clock
    step_store: Path = STEP_STORE
    gate_expires_seconds: int = 86_400
    lost_contact_retries: int = 3
    policy: Policy = Policy()
    backups: Path | None = None  # copies of backups, on the control node; none if not given
    ask: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] | None = None

    def shell(self, cluster: str, host: str) -> Shell:
        """Return the shell of a host of a cluster.

        Raises: InventoryError if the inventory has no such cluster or host.
        """
        return self.shells(cluster, host)


_current: ContextVar[World | None] = ContextVar("world", default=None)


def world() -> World:
    """Return the world in force: the one put in place, else the real one from the settings."""
    put = _current.get()
    if put is not None:
        return put
    from tasks.real_world import real_world  # noqa: PLC0415  (real_world imports this module)

    return real_world()


@contextmanager
def use_world(new: World) -> Iterator[World]:
    """Put a world in force for the block."""
    token = _current.set(new)
    try:
        yield new
    finally:
        _current.reset(token)
