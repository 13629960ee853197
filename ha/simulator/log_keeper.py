"""The product's own log in a simulation: each line belongs to the host whose code wrote it."""

import logging

from ha.simulator.site import Site

LOGGER = "ha"


class LogKeeper(logging.Handler):
    """Takes what the product logs from its usual places, from `open` to `close`."""

    def __init__(self, site: Site) -> None:
        level = site.plan.log_level
        super().__init__(logging.CRITICAL + 1 if level is None else level)
        self._site = site
        self._logger = logging.getLogger(LOGGER)
        self._before = self._logger.level, self._logger.propagate

    def open(self) -> None:
        """Begin; what is below the level costs nothing."""
        self._logger.addHandler(self)
        self._logger.setLevel(self.level)
        self._logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        task = self._site.schedule.current
        if task is not None and task.visits:
            self._site.say(task.visits[-1].host, "log", record.getMessage())

    def close(self) -> None:
        """End."""
        self._logger.removeHandler(self)
        self._logger.setLevel(self._before[0])
        self._logger.propagate = self._before[1]
        super().close()
