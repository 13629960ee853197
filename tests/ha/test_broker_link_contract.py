"""A broker that is not there, refuses, or is late: one contract for socket and simulator."""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from ha.broker_server import BrokerServer
from ha.env.ports import BrokerError, BrokerUnreachable, Monitors
from ha.rpc import BrokerLink
from ha.simulator.broker_link import SimBrokerLink
from ha.simulator.processes import Boot, Process
from ha.simulator.schedule import Schedule
from tests.ha.simulator.virtual import Seat, Virtual

LIMIT_SECONDS = 0.3


class Counting:
    """A broker that counts what it is asked; `late` is called within a request."""

    def __init__(self) -> None:
        self.asked = 0
        self.late: Callable[[], object] = lambda: None
        self.trouble: BrokerError | None = None

    def monitors(self) -> Mapping[str, object]:
        self.asked += 1
        number = self.asked
        self.late()
        if self.trouble:
            raise self.trouble
        return {"number": number}


class Rig(Protocol):
    """A client, and the broker that it asks."""

    link: Monitors
    service: Counting

    def serve(self) -> None:
        """Have the broker listen."""

    def be_late(self) -> None:
        """Have each request hang, until `be_in_time`."""

    def be_in_time(self) -> None:
        """Have those that hang go on, and the next ones not hang."""


class SocketRig:
    """Over a socket."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "socket"
        self.service = Counting()
        self.link = BrokerLink(self._path, LIMIT_SECONDS)
        self._go = threading.Event()
        self._server: BrokerServer | None = None

    def serve(self) -> None:
        self._server = BrokerServer(self._path, self.service)  # type: ignore[arg-type]
        threading.Thread(target=self._server.serve_forever, args=(0.02,)).start()

    def be_late(self) -> None:
        self.service.late = self._go.wait

    def be_in_time(self) -> None:
        self._go.set()

    def close(self) -> None:
        """End what runs."""
        self._go.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()


class SimulatedRig:
    """In virtual time."""

    def __init__(self) -> None:
        self.schedule = Schedule()
        self.service = Counting()
        self._seat = Seat(None, None)
        link = SimBrokerLink(self.schedule, self._seat, LIMIT_SECONDS)
        self.link: Any = Virtual(self.schedule, link)
        self._go = self.schedule.flag()

    def serve(self) -> None:
        self._seat.process = Process("ovirt-ha-broker", "host1", Boot())
        self._seat.service = self.service  # type: ignore[assignment]

    def be_late(self) -> None:
        self.service.late = self._go.wait

    def be_in_time(self) -> None:
        self._go.set()


@pytest.fixture(params=["socket", "simulated"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    if request.param == "simulated":
        simulated = SimulatedRig()
        yield simulated
        simulated.schedule.close()
    else:
        # A socket's path has a limit of 108 bytes, which pytest's folders can exceed.
        folder = Path(tempfile.mkdtemp(prefix="he"))
        real = SocketRig(folder)
        yield real
        real.close()
        shutil.rmtree(folder)


def test_a_broker_that_does_not_listen_is_unreachable_until_it_does(rig: Rig) -> None:
    for _ in range(2):
        with pytest.raises(BrokerUnreachable):
            rig.link.monitors()
    rig.serve()
    assert rig.link.monitors() == {"number": 1}


def test_its_refusal_comes_with_its_kind(rig: Rig) -> None:
    rig.serve()
    rig.service.trouble = BrokerError("joining", "the lease is being taken")
    with pytest.raises(BrokerError, match="^joining: the lease is being taken$") as refused:
        rig.link.monitors()
    assert refused.value.kind == "joining"
    rig.service.trouble = None
    assert rig.link.monitors() == {"number": 2}


def test_who_answers_late_is_unreachable_and_the_answer_is_not_the_next_ones(rig: Rig) -> None:
    rig.serve()
    rig.be_late()
    with pytest.raises(BrokerUnreachable):
        rig.link.monitors()
    rig.be_in_time()
    assert rig.link.monitors() == {"number": 2}
