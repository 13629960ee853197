"""The broker's link of a simulated process: its requests run in the caller's thread.

They count as the broker's all the same: a broker that is killed ends them, and a caller that has
waited long enough goes away.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, Protocol, TypeVar

from ha.broker import BrokerService
from ha.env.live_hosts import LiveHosts
from ha.env.ports import BrokerSilent, BrokerUnreachable, Report
from ha.simulator.processes import Killed, Process, TooLong
from ha.simulator.schedule import Schedule

REQUEST_SECONDS = 0.001

P = ParamSpec("P")
T = TypeVar("T")


class BrokerSeat(Protocol):
    """Where the broker of a host is found, if it runs."""

    @property
    def process(self) -> Process | None:
        """The broker's process."""

    @property
    def service(self) -> BrokerService | None:
        """What it serves with, once it listens."""

    @property
    def hangs(self) -> bool:
        """Whether it is stopped, so that it does not answer."""


class SimBrokerLink:
    """The client of a broker on the same host."""

    def __init__(self, schedule: Schedule, seat: BrokerSeat, limit_seconds: float) -> None:
        self._schedule = schedule
        self._seat = seat
        self._limit_seconds = limit_seconds

    def monitors(self) -> Mapping[str, object]:
        """Return the six monitors' latest values."""
        return self._ask(lambda service: service.monitors())

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        """Read blocks from storage."""
        return self._ask(lambda service: service.read_blocks(host_ids))

    def write_block(self, block: bytes) -> None:
        """Write this host's block."""
        self._ask(lambda service: service.write_block(block))

    def set_global_maintenance(self, on: bool) -> None:
        """Write block 0."""
        self._ask(lambda service: service.set_global_maintenance(on))

    def lock_host_id(self) -> None:
        """Take the lease on this host's id."""
        self._ask(lambda service: service.lock_host_id())

    def release_host_id(self) -> None:
        """Give it back."""
        self._ask(lambda service: service.release_host_id())

    def host_id_locked(self) -> bool:
        """Whether it is held."""
        return self._ask(lambda service: service.host_id_locked())

    def set_live_hosts(
        self, host_ids: Sequence[int], report: Report | None = None, dead_ids: Sequence[int] = ()
    ) -> None:
        """Keep the agent's lists of hosts alive and dead."""
        self._ask(lambda service: service.set_live_hosts(host_ids, report, dead_ids))

    def live_hosts(self) -> LiveHosts:
        """Return them and their age."""
        return self._ask(lambda service: service.live_hosts())

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Queue a notification."""
        self._ask(lambda service: service.notify(event, detail, since))

    def watch_engine(self, host_id: int, mark: str, seconds: float) -> str:
        """Look at a host's engine and the VM's lease until their mark is another."""
        return self._ask(lambda service: service.watch_engine(host_id, mark, seconds))

    def _ask(self, request: Callable[[BrokerService], T]) -> T:
        """Make a request. Raises BrokerUnreachable and BrokerError."""
        schedule, seat = self._schedule, self._seat
        schedule.check()
        process, service = seat.process, seat.service
        if process is None or service is None:
            raise BrokerUnreachable("the broker does not listen")
        if seat.hangs:
            schedule.sleep(self._limit_seconds)
            raise BrokerSilent(f"no answer within {self._limit_seconds:g} s")
        try:
            with schedule.visit(process, self._limit_seconds):
                return request(service)
        except TooLong as error:
            raise BrokerSilent(f"no answer within {self._limit_seconds:g} s") from error
        except Killed as error:
            schedule.check()  # it may be the caller itself
            raise BrokerSilent("the broker closed the connection") from error
