"""A command that somebody runs on a simulated host, as those see it who answer it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ha.simulator.command import Running
from ha.simulator.processes import Process

if TYPE_CHECKING:
    from ha.simulator.cluster import Cluster
    from ha.simulator.door.folder import Folder
    from ha.simulator.host import SimHost

FAILURE = 1


@dataclass(frozen=True, slots=True)
class Call:
    """One command: where, by which process, with which words and variables."""

    cluster: "Cluster"
    folder: "Folder"
    host: "SimHost"
    process: Process
    running: Running
    words: Sequence[str]
    environment: Mapping[str, str]

    def say(self, line: str) -> None:
        """Print a line."""
        self.running.out.append(line)

    def complain(self, line: str, exit_code: int = FAILURE) -> int:
        """Print a line on standard error; return the exit code."""
        self.running.err.append(line)
        return exit_code

    def has(self, *words: str) -> bool:
        """Whether all of these words are among the command's."""
        return all(word in self.words for word in words)


Handler = Callable[[Call], int]
"""Answers a command, in virtual time; returns its exit code."""
