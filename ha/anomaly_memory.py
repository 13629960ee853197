"""The watch for anomalies, kept over a restart of the agent in a file that lasts until the boot.

An agent that loses sight of the storage is restarted every minute: without this file it would tell
what is wrong each time anew.
"""

import json
import logging
from pathlib import Path

from ha.core.anomalies import Kind, Watch
from ha.core.facts import Monotonic

# Older than this nobody knows what happened meanwhile.
REMEMBERED_SECONDS = 300

_NOW = "now"

log = logging.getLogger(__name__)


class WatchFile:
    """The watch in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self, now: Monotonic) -> Watch:
        """Return the watch that was saved last; an empty one if it is too old or cannot be read."""
        try:
            saved = json.loads(self._file.read_text(encoding="utf-8"))
            if not 0 <= now - saved["at"] <= REMEMBERED_SECONDS:
                return Watch()
            rows = [
                (Kind(kind), str(subject), int(at), told)
                for kind, subject, at, told in saved["now"]
            ]
        except FileNotFoundError:
            return Watch()
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s is not used: %s", self._file, error)
            return Watch()
        since = {(kind, subject): Monotonic(at) for kind, subject, at, _ in rows}
        return Watch(since, frozenset((kind, subject) for kind, subject, _, told in rows if told))

    def save(self, watch: Watch, now: Monotonic) -> None:
        """Save the watch in one step; trouble is logged, as nothing depends on it."""
        rows = [
            [kind.value, subject, at, (kind, subject) in watch.told]
            for (kind, subject), at in watch.since.items()
        ]
        file = self._file
        fresh = file.with_name(f".{file.name}.new")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps({"at": now, _NOW: rows}), encoding="utf-8")
            fresh.replace(file)
        except OSError as error:
            log.warning("%s is not written: %s", file, error)
