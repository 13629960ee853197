"""What a host sees of itself: one contract for its own probes and the simulator's."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from ha.env.network_probes import Probe, always
from ha.env.ports import Probes
from ha.env.probes import HostProbes
from ha.simulator.cluster import Cluster
from ha.simulator.probes_sim import SimProbes
from ha.simulator.site import Plan
from tests.ha.simulator.virtual import Virtual

NOWHERE = "engine.invalid"  # RFC 6761: never resolved


class Rig(Protocol):
    """The probes of a host that runs no engine, and what a test does behind them."""

    probes: Probes

    def lose(self, probes: int) -> None:
        """Have so many of the next five network probes be refused."""

    def pass_always(self) -> None:
        """Have the network be tested by `none`, with the network lost."""

    def unplug(self) -> None:
        """Have the management bridge have no carrier."""

    def seconds(self, call: Callable[[], object]) -> float:
        """Make a call; return how long it waits."""


class HostRig:
    """This host's; its pauses are counted, not made."""

    def __init__(self) -> None:
        self._answers: list[bool] = []
        self._paused: list[float] = []
        self._lose = 0
        self._make("lo", self._probe)

    def _make(self, bridge: str, probe: Probe) -> None:
        self.probes: Probes = HostProbes(
            probe, bridge, NOWHERE, monotonic=lambda: 0.0, pause=self._paused.append
        )

    def _probe(self) -> bool:
        self._lose -= 1
        return self._lose < 0

    def lose(self, probes: int) -> None:
        self._lose = probes

    def pass_always(self) -> None:
        self._make("lo", always)

    def unplug(self) -> None:
        self._make("no-such-bridge", self._probe)

    def seconds(self, call: Callable[[], object]) -> float:
        before = sum(self._paused)
        call()
        return sum(self._paused) - before


class SimulatedRig:
    """A simulated host's, without an engine."""

    def __init__(self, made: Cluster, deployment: dict[str, str]) -> None:
        self._made, self._host, self._deployment = made, made.hosts[1], deployment
        self.probes: Any = Virtual(self._host.site.schedule, SimProbes(self._host))

    def lose(self, probes: int) -> None:
        self._host.network_share, self._host.refused = 1 - probes / 5, True

    def pass_always(self) -> None:
        self._host.uplink = False
        self._deployment["network_test"] = "none"

    def unplug(self) -> None:
        self._host.bridge = False

    def seconds(self, call: Callable[[], object]) -> float:
        before = self._made.now
        call()
        return self._made.now - before


@pytest.fixture(params=["host", "simulated"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    if request.param == "host":
        yield HostRig()
    else:
        deployment = {"network_test": "ping"}
        with Cluster(Plan(hosts=2, first="host1", deployment=deployment)) as made:
            yield SimulatedRig(made, deployment)


@pytest.mark.parametrize("lost", range(6))
def test_the_network_is_the_share_of_five_probes(rig: Rig, lost: int) -> None:
    rig.lose(lost)
    assert rig.probes.network() == (5 - lost) / 5


def test_the_probes_of_the_network_are_half_a_second_apart(rig: Rig) -> None:
    assert rig.seconds(rig.probes.network) == pytest.approx(4 * 0.5, abs=0.01)


def test_the_network_test_none_takes_as_long_and_always_succeeds(rig: Rig) -> None:
    rig.pass_always()
    shares: list[float] = []
    assert rig.seconds(lambda: shares.append(rig.probes.network())) >= 4 * 0.5
    assert shares == [1.0]


def test_a_bridge_is_up_until_it_has_no_carrier(rig: Rig) -> None:
    assert rig.probes.bridge_up() is True
    rig.unplug()
    assert rig.probes.bridge_up() is False


def test_memory_is_in_mib_and_load_a_share(rig: Rig) -> None:
    memory = rig.probes.memory_free_mib()
    assert memory is not None
    assert 16 < memory < 1e8
    for _ in range(2):
        load = rig.probes.cpu_load_without_engine()
        assert load is None or 0 <= load <= 1


def test_an_engine_that_is_nowhere_is_not_well(rig: Rig) -> None:
    assert rig.probes.health_page_ok() is False
