"""A command that somebody runs on a simulated host, as those see it who answer it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ha.simulator.command import Running
from ha.simulator.processes import Process

if TYPE_CHECKING:
    from ha.simulator.cluster import Cluster
    from ha.simulator.door.folder import Folder
    from ha.simulator.door.packages import Packages
    from ha.simulator.host import SimHost

FAILURE = 1


@dataclass(frozen=True, slots=True)
class Call:
    """One command: where, by which process, with which words and variables.

    `machine` is the host, or the engine VM that runs on it.
    """

    cluster: "Cluster"
    folder: "Folder"
    host: "SimHost"
    machine: str
    packages: "Packages"
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


Handler = Callable[[Call], int]
"""Answers a command, in virtual time; returns its exit code."""
