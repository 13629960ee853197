"""What an agent works with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ha.agent_files import AgentFiles
from ha.bell import Bell
from ha.core.actions import Action
from ha.core.anomalies import Watch
from ha.core.facts import Memory, Monotonic, Observation
from ha.core.score import CoreSettings
from ha.env.ports import Env
from ha.turn import Turn
from ha.version import version


class Recorder(Protocol):
    """Keeps what was seen and decided."""

    def record(
        self,
        before: Memory,
        seen: Observation,
        turn: Turn,
        settings: CoreSettings,
        results: Mapping[Action, bool],
    ) -> None:
        """Keep one turn; never raises."""


class WatchMemory(Protocol):
    """The watch for anomalies, kept over a restart of the agent."""

    def load(self, now: Monotonic) -> Watch:
        """Return what was saved last; an empty watch if it is too old or cannot be read."""

    def save(self, watch: Watch, now: Monotonic) -> None:
        """Save the watch; trouble is logged, as nothing depends on it."""


@dataclass(frozen=True, slots=True)
class World:
    """The ports, the host's files and name, the agent's bell, what it keeps, and its version."""

    env: Env
    files: AgentFiles
    bell: Bell
    recorder: Recorder
    anomalies: WatchMemory
    hostname: str
    version: str = field(default_factory=version)
