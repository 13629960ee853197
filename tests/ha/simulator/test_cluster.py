"""The product's agents and brokers in virtual time: they elect, and they do it always the same."""

from collections.abc import Iterator
from contextlib import contextmanager

from ha.simulator.cluster import Cluster
from ha.simulator.site import Plan


@contextmanager
def cluster(plan: Plan | None = None) -> Iterator[Cluster]:
    made = Cluster(plan or Plan())
    try:
        yield made
    finally:
        made.close()


def states(made: Cluster, host: str) -> list[tuple[int, str]]:
    found = [line for line in made.log if line.kind == "state" and line.host == host]
    return [(int(line.at_seconds), line.text.split(":")[0]) for line in found]


def test_three_hosts_start_one_engine() -> None:
    with cluster() as made:
        made.run_until(300)
        # 21 s for the host id, 60 s until it is known who is alive.
        assert states(made, "host1") == [
            (21, "ReinitializeFSM (0)"),
            (31, "EngineDown (3400)"),
            (91, "EngineStart (3400)"),
            (91, "EngineStarting (3400)"),
            (193, "EngineUp (3400)"),
        ]
        told = [(line.host, line.text) for line in made.log if line.kind == "vm"]
        assert told == [("host1", "runs"), ("host1", "the engine answers")]
