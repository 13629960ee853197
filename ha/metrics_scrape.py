"""One look at all that the broker knows, made when somebody asks for the metrics."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ha.broker import BrokerService
from ha.core.leases import LeaseHolder
from ha.env.notifier import Waiting
from ha.env.ports import BrokerEnv, Lockspace, LockspaceFailed
from ha.errand import Errand, Unfinished
from ha.metered import Stopwatch, Tally
from ha.metrics import exposition
from ha.metrics_look import Channel, LeaseLook, Look, samples
from ha.version import version

# A sanlock that hangs costs its metrics; the others come all the same.
SANLOCK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Meters:
    """What runs along with the broker and counts; `outboxes` by the name of their channel."""

    stopwatch: Stopwatch
    tally: Tally
    outboxes: Mapping[str, Waiting]


@dataclass(frozen=True, slots=True)
class _Seats:
    held: bool
    holders: Sequence[LeaseHolder]


class Scraper:
    """Makes the metrics' text."""

    def __init__(
        self,
        service: BrokerService,
        env: BrokerEnv,
        host_id: int,
        meters: Meters,
        *,
        sanlock_now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sanlock_now` is sanlock's own clock, CLOCK_MONOTONIC."""
        self._service = service
        self._host_id = host_id
        self._meters = meters
        self._sanlock_now = sanlock_now
        self._seats = {
            name: Errand(
                f"metrics-{name}-lockspace",
                partial(self._look_at, lockspace),
                LockspaceFailed,
                SANLOCK_SECONDS,
                clock=env.clock,
                threads=env.threads,
            )
            for name, lockspace in (("whiteboard", env.lockspace), ("vm", env.vm_lockspace))
        }

    def text(self) -> str:
        """Return the exposition of now."""
        meters = self._meters
        look = Look(
            version=version(),
            live=self._service.live_hosts(),
            monitors=self._service.monitors(),
            leases=[self._lease(name) for name in self._seats],
            storage=meters.stopwatch.times(),
            transitions=meters.tally.told("state_transition"),
            anomalies=meters.tally.told("anomaly"),
            channels=[
                Channel(name, len(outbox.waiting), outbox.lost)
                for name, outbox in meters.outboxes.items()
            ],
        )
        return exposition(list(samples(look)))

    def _lease(self, name: str) -> LeaseLook:
        try:
            seats = self._seats[name].ask()
        except (LockspaceFailed, Unfinished):
            return LeaseLook(name)
        ours = [one.timestamp for one in seats.holders if one.host_id == self._host_id]
        known = seats.held and bool(ours)
        age_seconds = max(0.0, self._sanlock_now() - ours[0]) if known else None
        return LeaseLook(name, seats.held, age_seconds, seats.holders)

    def _look_at(self, lockspace: Lockspace) -> _Seats:
        return _Seats(lockspace.held(self._host_id) is True, lockspace.holders())
