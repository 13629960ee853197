"""A control node for the lab's tests: `runbook serve` in a home of its own, with short waits."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import pytest

from flows.children import marked
from flows.server import Place, ServerRecord, read_record
from runbooks.catalogue import Entry, load
from tasks.env import SystemClock, World, use_world
from tasks.inventory import load_inventory
from tasks.journal import Entry as JournalEntry
from tasks.journal import Journal, Kind, Phase
from tasks.shell import ShellLimits, ShellPool
from tests.lab.cluster import Lab
from tests.lab.commands import LabError, run
from tests.lab.demo_console import Command

ROOT = Path(__file__).parents[2]
RUNBOOK = "metadata-too-new"
UNDO = "restore-metadata"
# The deployed lab's limits, shorter than production's where only waiting is at stake.
TIMING = {"loop_seconds": 2.0, "host_alive_seconds": 15.0, "away_seconds": 10.0}
# The lab's agents take a turn every 2 s where production's take 10: as many turns, less waiting.
SHORT_LIMITS = {"publish_seconds": 3, "quiet_seconds": 5, "settle_seconds": 5}
LIMITS = "tasks.limits.catalogue"
APPROVER = "ann"
APPROVED = {"decision": "approve", "approver": APPROVER, "reason": "a test", "target": "lab"}

Ask = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


def nobody(gate: str, shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer no gate: none may be asked."""
    raise AssertionError(f"gate {gate} was asked")


class ControlNode(Command):
    """The `runbook` command with a home, an inventory and a catalogue that tests may change."""

    def __init__(
        self, home: Path, lab: Lab, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        super().__init__(home, home / "inventory.toml")
        self.settings = settings
        self.lab = lab
        self.known_hosts = home / "known_hosts"
        self.code = home / "code"

    def prepare(self) -> None:
        """Make the home: copies of the lab's inventory and host keys, and of the catalogue."""
        self.home.mkdir(mode=0o700, parents=True)
        shutil.copytree(ROOT / "runbooks", self.code / "runbooks")
        for name, seconds in SHORT_LIMITS.items():
            self.set_limit(name, seconds)
        self.reset()

    def reset(self) -> None:
        """Take back what a test did to inventory and host keys."""
        self.known_hosts.write_text(self.lab.known_hosts.read_text())
        text = self.lab.inventory_path.read_text()
        self.inventory.write_text(text.replace(str(self.lab.known_hosts), str(self.known_hosts)))

    def set_limit(self, name: str, seconds: int) -> int:
        """Set a limit of every runbook, for runs that start from now on; return what it was."""
        was = 0
        for file in (self.code / "runbooks").glob("*.toml"):
            found = re.search(rf"^{name} = (\d+)$", text := file.read_text(), re.MULTILINE)
            if found:
                was = int(found[1])
                file.write_text(text.replace(found[0], f"{name} = {seconds}"))
        return was

    @property
    def environment(self) -> dict[str, str]:
        """The demo's, with our copy of the catalogue found before the project's."""
        return {**super().environment, **self.settings, "PYTHONPATH": str(self.code)}

    @property
    def catalogue(self) -> Mapping[str, Entry]:
        """The copy, for runs in this process."""
        return load(self.code / "runbooks")

    @property
    def journal(self) -> Journal:
        """The journal of all runs."""
        return Journal(f"sqlite:///{self.home / 'journal.db'}")

    @property
    def record(self) -> ServerRecord:
        """Which processes serve."""
        return read_record(Place(self.home))

    @contextmanager
    def here(self, ask: "Ask | None" = None) -> Iterator[None]:
        """Let runs in this process work on the real hosts; `ask` answers their gates.

        Such a run is the same but for Prefect: what it refuses needs no server to be seen.
        """
        inventory = load_inventory(self.inventory)
        pool = ShellPool(inventory, ShellLimits())
        world = World(
            pool.shell,
            self.journal,
            inventory,
            SystemClock(),
            backups=self.home / "backups",
            ask=ask or nobody,
        )
        with use_world(world), mock.patch(LIMITS, return_value=self.catalogue):
            yield

    # -- runs ----------------------------------------------------------------------------------

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        """Start the command and let it go on, as on a terminal of its own without a keyboard."""
        return subprocess.Popen(
            # A test session in the background ignores Ctrl-C, and its children would, too.
            ["env", "--default-signal=INT", self.program, *words],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def launch(self, runbook: str = RUNBOOK, **parameters: str) -> str:
        """Start a run, follow it no further, and return its id."""
        words = [f"--param={name}={value}" for name, value in parameters.items()]
        command = ("run", runbook, "--cluster=lab", "--detach", "--json", *words)
        return str(json.loads(self.read(*command))["run"]["id"])

    def undo(self, run_id: str) -> str:
        """Start the undo of a run and return its id."""
        return str(json.loads(self.read("undo", run_id, "--detach", "--json"))["run"]["id"])

    def latest(self) -> str:
        """The id of the newest run; nothing if there is none yet."""
        return next((each.run_id for each in self.journal.runs(limit=1)), "")

    def wait_for_run(self, timeout_seconds: float = 60) -> str:
        """Wait until a run is under way; return its id."""

        def under_way() -> bool:
            run_id = self.latest()
            return bool(run_id) and not self.ended_as(run_id)

        self.lab.wait_until(under_way, timeout_seconds, "a run is under way")
        return self.latest()

    def complaint(self, *words: str) -> str:
        """Call the command, which must refuse; return what it complained of."""
        with pytest.raises(LabError) as refused:
            self.read(*words)
        return str(refused.value)

    def wait_for_gate(self, run_id: str, timeout_seconds: float = 180) -> None:
        """Wait until the run waits at a gate, in journal and server alike."""
        self.lab.wait_until(
            lambda: bool(self.status(run_id)["gate"]), timeout_seconds, "the run is at its gate"
        )

    def answer(self, run_id: str, decision: str) -> None:
        """Approve or reject what waits, as `ann`."""
        words = [decision, run_id, "--as", APPROVER, "--reason", "a test of the lab"]
        self.read(*words, *(["--set", "target=lab"] if decision == "approve" else []))

    def wait_for_end(self, run_id: str, timeout_seconds: float = 180) -> dict[str, Any]:
        """Wait until the run has ended; return it as `runbook status` has it."""

        def ended() -> bool:
            return self.status(run_id)["run"]["state_type"] in {"COMPLETED", "FAILED", "CANCELLED"}

        self.lab.wait_until(ended, timeout_seconds, "the run has ended")
        found: dict[str, Any] = self.status(run_id)["run"]
        return found

    def cancel_what_goes_on(self) -> None:
        """Cancel what has not ended, as after a test that failed: it would disturb the next."""
        for runbook in (RUNBOOK, UNDO):
            run_id = self.unfinished(runbook)
            if run_id:
                self.read("cancel", run_id, accept=(0, 1))

    # -- what the journal has ------------------------------------------------------------------

    def entries(self, run_id: str, kind: Kind, phase: Phase, step: str = "") -> list[JournalEntry]:
        """The run's entries of a kind and phase, whose step begins with `step`."""
        found = self.journal.entries(run_id, kinds=(kind,))
        return [each for each in found if each.phase is phase and each.step.startswith(step)]

    def entries_text(self, run_id: str) -> str:
        """All that the journal says of the run, as text."""
        return "\n".join(str(each.payload) for each in self.journal.entries(run_id))

    def attempts(self, run_id: str) -> int:
        """How often the run was entered."""
        return len(self.entries(run_id, Kind.RUN, Phase.ATTEMPT))

    def ended_as(self, run_id: str) -> str:
        """How the run ended, by its own word; nothing if it has not."""
        ends = self.entries(run_id, Kind.RUN, Phase.ENDED)
        return str(ends[-1].payload["as"]) if ends else ""

    # -- processes -----------------------------------------------------------------------------

    def engines(self, run_id: str) -> list[int]:
        """The processes that execute the run."""
        wanted = f"PREFECT__FLOW_RUN_ID={run_id}".encode()
        return [pid for pid in marked(f"runner:{self.home}") if wanted in _environment(pid)]

    def kill(self, *pids: int | None) -> None:
        """kill -9; what ended with its parent, such as the proxy of a connection, is dead, too."""
        assert pids
        assert all(pids), "there is no such process"
        for pid in filter(None, pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def digest(file: Path) -> str:
    """SHA-256 of a file, read past the hosts."""
    return run(["sha256sum", str(file)]).stdout.split()[0]
