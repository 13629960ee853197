"""One host with its agent, in virtual time."""

import threading
from collections.abc import Callable
from pathlib import Path

from ha.agent import Agent
from ha.agent_world import World
from ha.anomaly_memory import WatchFile
from ha.config import Paths
from ha.env.ports import Env
from ha.env.threads import HostThreads
from ha.recorder import FlightRecorder
from tests.ha.fakes import (
    FakeBell,
    FakeBroker,
    FakeClock,
    FakeEngineVm,
    FakeFiles,
    settings_for,
)

HOSTNAME = "h1.example.com"


class Host:
    """One host with its agent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.broker = FakeBroker()
        self.vm = FakeEngineVm()
        self.files = FakeFiles()
        self.recording = root / "flight.jsonl"
        self.bell = FakeBell(self.clock)
        self.released = threading.Event()

    def world(self) -> World:
        return World(
            env=Env(self.clock, HostThreads(), self.broker, self.vm),
            files=self.files,
            bell=self.bell,
            recorder=FlightRecorder(self.recording, seed=7),
            anomalies=WatchFile(Paths(self.root).anomalies),
            hostname=HOSTNAME,
        )

    def run(self, *plan: Callable[[], None], turns: int = 0) -> None:
        """Let the agent take one turn and one more after each step of the plan, or `turns` more."""
        self.bell.plan = [*plan, *([lambda: None] * turns)]
        Agent(self.world(), settings_for(self.root)).run()

    def hold(self, xml: str) -> None:
        """Start the VM as when its lease is held by a host that only looks dead: wait."""
        self.vm.calls.append(f"start {xml}")
        self.released.wait(10)

    @property
    def states(self) -> list[str | None]:
        return [record.state for record in self.broker.published]

    def health(self, status: dict[str, str]) -> Callable[[], None]:
        return lambda: self.broker.values.update({"engine-health": status})
