"""A journal and shells that kill the run: before or after an entry, or with a step just sent."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from tasks.env import Ran, Shell
from tasks.journal import Draft, Entry, Journal
from tasks.step_scripts import START

STEP_ID_AT = 5  # in the argv of a step script: sh -c SCRIPT step STORE STEP_ID ...


class Killed(BaseException):
    """Stands for kill -9: nothing of the run's own handles it."""


@dataclass
class Reaper:
    """Decides at each point whether the run dies there, and keeps what points there were."""

    strikes: Callable[[str], bool] = lambda point: False
    points: list[str] = field(default_factory=list)

    def at(self, point: str) -> None:
        self.points.append(point)
        if self.strikes(point):
            raise Killed(point)


def everywhere_once() -> Callable[[str], bool]:
    """Strike at each point that was not struck at before."""
    struck: set[str] = set()

    def strikes(point: str) -> bool:
        if point in struck:
            return False
        struck.add(point)
        return True

    return strikes


def once_at(*wanted: str) -> Callable[[str], bool]:
    """Strike when one of these points is reached for the first time."""
    first = everywhere_once()
    return lambda point: point in wanted and first(point)


class MortalJournal(Journal):
    """A journal whose run may die before each entry, with nothing written, and after it."""

    def __init__(self, folder: Path, reaper: Reaper) -> None:
        super().__init__(f"sqlite:///{folder / 'journal.db'}")
        self.reaper = reaper
        self.appended: list[str] = []

    def append_in(self, session: Session, draft: Draft) -> Entry:
        point = f"{draft.kind.value} {draft.step} {draft.phase.value}"
        self.reaper.at(f"before {point}")
        self.appended.append(point)
        return super().append_in(session, draft)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        self.appended = []
        with super().transaction() as session:
            yield session
        for point in self.appended[-1:]:  # after all of one transaction is one moment
            self.reaper.at(f"after {point}")


@dataclass
class MortalShell:
    """A host's shell; counts the steps that were really started there."""

    inner: Any
    reaper: Reaper
    started: Counter[str]

    @property
    def host(self) -> str:
        return str(self.inner.host)

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_seconds: float = 30.0
    ) -> Ran:
        ran: Ran = self.inner.run(argv, stdin=stdin, timeout_seconds=timeout_seconds)
        if len(argv) > STEP_ID_AT and argv[2] == START:
            step = f"{self.host} {argv[STEP_ID_AT]}"
            if ran.stdout.strip() == "started":
                self.started[step] += 1
            self.reaper.at(f"sent {step}")
        return ran


def mortal_shells(
    shells: Callable[[str, str], Shell], reaper: Reaper, started: Counter[str]
) -> Callable[[str, str], Shell]:
    """Return shells over others."""
    return lambda cluster, host: MortalShell(shells(cluster, host), reaper, started)
