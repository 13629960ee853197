"""Puts meters into a broker's world, and serves what they and the broker know."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from ha.broker import BrokerService
from ha.env.metrics_server import MetricsServer
from ha.env.notifier import Notifiers, Waiting
from ha.env.ports import BrokerEnv
from ha.metered import Stopwatch, Tally, TimedWhiteboard
from ha.metrics_scrape import Meters, Scraper

log = logging.getLogger(__name__)


class Metrics:
    """The metrics of one broker, at an address."""

    def __init__(
        self, address: tuple[str, int], env: BrokerEnv, outboxes: Mapping[str, Waiting]
    ) -> None:
        self._address = address
        stopwatch, tally = Stopwatch(env.clock.monotonic), Tally()
        self._meters = Meters(stopwatch, tally, outboxes)

        def read_domain() -> object:
            with stopwatch.request("domain"):
                return env.read_domain()

        self.env = replace(
            env,
            whiteboard=TimedWhiteboard(env.whiteboard, stopwatch),
            read_domain=read_domain,
            notifier=Notifiers((env.notifier, tally)),
        )
        """The same world, its requests to the storage timed and its notifications counted."""

    def serve(self, service: BrokerService, host_id: int) -> MetricsServer | None:
        """Serve from a thread; an address that cannot be had is logged: HA goes on without."""
        scraper = Scraper(service, self.env, host_id, self._meters)
        try:
            server = MetricsServer(self._address, scraper.text)
        except OSError as error:
            log.error("No metrics are served at %s port %s: %s", *self._address, error)
            return None
        server.start()
        log.info("Metrics are served at %s port %s", *server.server_address[:2])
        return server
