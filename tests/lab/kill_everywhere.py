"""Kills a run of the control node wherever its journal, or a host, says that it has come to.

A point is an entry of the journal (`wait wait_until_left outcome`), or the beginning of a remote
step by the host's own record (`begun initialise_lockspace@h2`). As soon as a point shows up for the
first time, the process that executes the run is killed with -9, and every second time the
runner with it; the supervisor goes on by itself. Entries that come within one look share a kill:
there is no time between them. Gates that wait are approved meanwhile.
"""

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.server import NoServer
from tasks.journal import Entry, Kind, Phase
from tests.lab.cluster import Lab
from tests.lab.control_node import APPROVER, ControlNode
from tests.lab.watched_commands import WatchedCommands

STORE = "var/lib/hosted-engine-runbooks/steps"
LOOK_EVERY_SECONDS = 0.02
ENGINE = "engine"  # where the upgrade has steps of its own
ASK_EVERY_SECONDS = 2.0
STALLED_SECONDS = 300.0
# What is given again, under a step name of its own, when it had no effect (tasks/reissue.py).
REISSUED = "hosted-engine --set-maintenance"


@dataclass
class Ordeal:
    """One run that is killed wherever `wanted` says, until it is through."""

    lab: Lab
    node: ControlNode
    run_id: str
    wanted: Callable[[str], bool]
    kills: list[str] = field(default_factory=list)  # the points, and who died
    struck: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    begun: dict[str, int] = field(default_factory=dict)  # remote step: the attempt that began it
    entries: list[Entry] = field(default_factory=list)
    _approving: "subprocess.Popen[str] | None" = None
    _asked_at: float = 0.0

    def run(self) -> dict[str, Any]:
        """Kill and let go on until the run has ended; return it as `runbook status` has it."""
        journal, progress_at = self.node.journal, time.monotonic()
        while not any(entry.phase is Phase.ENDED for entry in self.entries):
            seen = self.entries[-1].seq if self.entries else 0
            fresh = journal.entries(self.run_id, after_seq=seen)
            self.entries += fresh
            points = [point_of(entry) for entry in fresh] + self._begun_since()
            if points:
                progress_at = time.monotonic()
                self._come_to(points)
            self._approve()
            stalled_seconds = time.monotonic() - progress_at
            assert stalled_seconds < STALLED_SECONDS, f"stands still after {self.kills[-1:]}"
            time.sleep(LOOK_EVERY_SECONDS)
        ended = self.node.wait_for_end(self.run_id, STALLED_SECONDS)
        self.entries = journal.entries(self.run_id)
        return ended

    def _come_to(self, points: Sequence[str]) -> None:
        self.passed.update(points)
        new = [point for point in points if self.wanted(point) and point not in self.struck]
        if not new:
            return
        self.struck.update(new)
        pids = self.node.engines(self.run_id)
        who = ["engine"] if pids else []
        if len(self.kills) % 2:
            pids, who = [*pids, *self._runner()], [*who, "runner"]
        for pid in pids:
            self.node.kill(pid)
        self.kills.append(f"{' + '.join(new)} [{' and '.join(who) or 'dead already'}]")

    def _runner(self) -> list[int]:
        # Between a runner's death and its successor's start there is none.
        with suppress(NoServer):
            pid = self.node.record.runner_pid
            return [pid] if pid else []
        return []

    def _begun_since(self) -> list[str]:
        """The remote steps that a host has begun since the last look."""
        found = []
        hosts = {host.name for host in self.lab.hosts}  # the engine's disk is not seen from here
        for entry in self.entries:
            if not is_remote(entry, Phase.INTENT) or entry.host not in hosts:
                continue
            record = store(self.lab, entry.host) / str(entry.payload["step_id"]) / "pid"
            if entry.step not in self.begun and record.exists():
                self.begun[entry.step] = entry.attempt
                found.append(f"begun {entry.step}")
        return found

    def _approve(self) -> None:
        """Approve a gate that waits, by the command, and go on looking meanwhile."""
        gate = next((e for e in reversed(self.entries) if e.kind is Kind.GATE), None)
        waits = gate is not None and gate.phase is Phase.NOTE
        if self._approving is not None and self._approving.poll() is None:
            return
        if not waits or time.monotonic() - self._asked_at < ASK_EVERY_SECONDS:
            return
        self._asked_at = time.monotonic()
        assert gate is not None
        intents = [e for e in self.entries if e.step == gate.step and e.phase is Phase.INTENT]
        target = intents[0].payload["target"]
        words = ["approve", self.run_id, "--as", APPROVER, "--reason", "a test of the lab"]
        self._approving = self.node.begin(*words, *([f"--set=target={target}"] if target else []))


def point_of(entry: Entry) -> str:
    """Name an entry as a point at which a run may die."""
    return f"{entry.kind.value} {entry.step} {entry.phase.value}"


def store(lab: Lab, host: str) -> Path:
    """Where a host keeps its record of the steps that it was sent."""
    return lab.machine(host).root / STORE


def require_nothing_twice(ordeal: Ordeal, commands: WatchedCommands) -> None:
    """Assert by the hosts' own records that nothing was done twice, and nothing without record."""
    intents = {e.step: e for e in ordeal.entries if is_remote(e, Phase.INTENT)}
    known = {(e.host, str(e.payload["step_id"])) for e in intents.values()}
    on_hosts = {
        (host.name, folder.name)
        for host in ordeal.lab.hosts
        for folder in store(ordeal.lab, host.name).glob(f"{ordeal.run_id}.*")
    }
    if any(host == ENGINE for host, _ in known):
        listed = ordeal.lab.ssh(ENGINE, "ls", f"/{STORE}").stdout.split()
        on_hosts |= {(ENGINE, step) for step in listed if step.startswith(f"{ordeal.run_id}.")}
    assert on_hosts == known, f"the hosts have {on_hosts}, the journal {known}"
    again = [f"{host} {step}" for host, step in on_hosts if step.endswith("+2")]
    assert not again, f"run again as lost: {again}"
    for (host, line), times in commands.given().items():
        reissued = line.startswith(REISSUED)
        what = REISSUED if reissued else line
        sent = [e for e in intents.values() if e.host == host and what in argv_of(e)]
        # A script gives commands that are not its own line; two steps may give the same.
        assert times <= (len(sent) if reissued else max(len(sent), 1)), (
            f"{host} was given {times} times: {line}"
        )


def require_attached(ordeal: Ordeal) -> None:
    """Assert that a step that was begun when its run died was attached to, not begun anew."""
    outcomes = [e for e in ordeal.entries if is_remote(e, Phase.OUTCOME)]
    assert len({e.step for e in outcomes}) == len(outcomes)
    for entry in outcomes:
        first = ordeal.begun.get(entry.step, entry.attempt)
        if entry.attempt > first and f"begun {entry.step}" in ordeal.struck:
            assert entry.payload["how"] == "attached", f"{entry.step}: {entry.payload['how']}"


def require_each_gate_decided_once(ordeal: Ordeal, gates: Sequence[str]) -> None:
    """Assert that each gate was decided once, by the approver, and not asked again afterwards."""
    decisions = [e for e in ordeal.entries if e.kind is Kind.GATE and e.phase is Phase.DECISION]
    decided = [e.step for e in decisions]
    assert decided == list(gates), f"decided were {decided}"
    for decision in decisions:
        assert (decision.actor, decision.payload["decision"]) == (APPROVER, "approve")
        later = [e for e in ordeal.entries if e.step == decision.step and e.seq > decision.seq]
        assert later == [], f"{decision.step} is asked again: {[point_of(e) for e in later]}"


def is_remote(entry: Entry, phase: Phase) -> bool:
    """Whether an entry is of a remote step, and of that phase."""
    return entry.kind is Kind.REMOTE and entry.phase is phase


def argv_of(entry: Entry) -> str:
    """The command of a remote step's intent, as one line."""
    return " ".join(entry.payload["argv"])
