"""Random faults in virtual time: what must hold holds, and when it does not, the judge sees it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ha.core import states
from ha.core.facts import State
from ha.core.states import GLOBAL
from ha.execute import Executor
from ha.host_lease import HostLease
from ha.simulator import fuzz, sanlock
from ha.simulator.fuzz import run_one

PROJECT = Path(__file__).parents[2]
SEEDS = range(200)
AT_ONCE = 20
ENOUGH = 150
"""Runs in which a broken rule must have shown itself."""


@pytest.mark.parametrize("first", SEEDS[::AT_ONCE])
def test_what_must_hold_does(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        outcome = run_one(seed)
        log = "\n".join(outcome.log[-60:])
        again = f"again: python3 -m ha.simulator.fuzz --runs 1 --log --seed {seed}"
        assert outcome.broken == (), f"seed {seed}: {outcome.broken}\n{log}\n{again}"


def what_broke(word: str) -> str:
    """Return the first complaint with this word; none means that nobody noticed."""
    for seed in range(ENOUGH):
        for complaint in run_one(seed).broken:
            if word in complaint:
                return complaint
    return ""


def test_two_vms_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanlock, "WATCHDOG_SECONDS", -60.0)  # others take a host for dead too soon
    assert "the engine VM runs on host" in what_broke("runs on")


def test_a_write_without_the_lease_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostLease, "require", lambda _self: None)
    assert "without the lease on that host id" in what_broke("without the lease")


def test_a_start_in_maintenance_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten = {
        state: tuple(rule for rule in rules if rule is not GLOBAL)
        for state, rules in states.RULES.items()
        if state in (State.ENGINE_DOWN, State.ENGINE_START)
    }
    monkeypatch.setattr("ha.core.decide.RULES", {**states.RULES, **forgotten})
    assert "start of the VM in global maintenance" in what_broke("maintenance")


def test_an_engine_that_stays_away_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Executor, "_start_vm", lambda _self: True)
    assert "the engine is not up within" in what_broke("not up")


def test_an_error_of_the_product_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: HostLease) -> None:
        raise KeyError("a surprise")

    monkeypatch.setattr(HostLease, "lock", fail)
    assert "a surprise" in what_broke("KeyError")


def log_of(seed: int, hash_seed: int) -> bytes:
    argv = [sys.executable, "-m", fuzz.__name__, "--runs", "1", "--log", "--seed", str(seed)]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(argv, cwd=PROJECT, env=environment, capture_output=True, check=True)
    *log, _took_so_long = done.stdout.splitlines(keepends=True)
    return b"".join(log)


@pytest.mark.parametrize("seed", [3, 17])
def test_the_same_seed_gives_the_same_log_byte_for_byte(seed: int) -> None:
    logs = [log_of(seed, hash_seed) for hash_seed in (1, 2, 3)]
    assert len(logs[0]) > 1000
    assert logs[0] == logs[1] == logs[2]


def test_another_seed_gives_another_log() -> None:
    assert log_of(3, 1) != log_of(4, 1)
