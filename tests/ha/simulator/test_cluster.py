"""The product's agents and brokers in virtual time: they elect, and they do it always the same."""

import pytest

from ha.simulator.cluster import Cluster
from ha.simulator.site import Plan


def states(made: Cluster, host: str) -> list[tuple[float, str]]:
    found = [line for line in made.log if line.kind == "state" and line.host == host]
    return [(line.at_seconds, line.text.split(":")[0]) for line in found]


def test_three_hosts_start_one_engine() -> None:
    with Cluster(Plan()) as made:
        made.run_until(300)
        told = [(line.host, line.text) for line in made.log if line.kind == "vm"]
        [(host, _), _] = told
        assert told == [(host, "runs"), (host, "the engine answers")]
        began = states(made, host)[0][0]
        # 60 s until it is known who is alive; then the VM boots, and its service starts.
        assert [(round(at - began), state) for at, state in states(made, host)] == [
            (0, "ReinitializeFSM (0)"),
            (10, "EngineDown (3400)"),
            (70, "EngineStart (3400)"),
            (70, "EngineStarting (3400)"),
            (pytest.approx(171, abs=10), "EngineUp (3400)"),
        ]
        assert made.serves
        assert made.invariants.broken == []
