"""What comes again and again is told once, counted, and summed up when it is over.

The first time is told at once. From then on it is counted, and told at the 10th, the 100th, the
1000th time, so that people know that it goes on, but a storm is no storm of messages. Once it has
not come for a while it is over: then the sum is told, unless it came only once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

MOST_KEYS = 64


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell; `first` and `last` are seconds of the caller's clock."""

    key: tuple[str, ...]
    count: int
    first: float
    last: float
    over: bool = False


@dataclass(slots=True)
class _Seen:
    count: int
    first: float
    last: float


class Repeats:
    """Remembers what came lately; `quiet_seconds` 0 tells everything each time."""

    def __init__(self, quiet_seconds: float) -> None:
        self._quiet_seconds = quiet_seconds
        self._seen: dict[tuple[str, ...], _Seen] = {}

    def came(self, key: tuple[str, ...], now: float) -> list[Note]:
        """Count one and return what is to be told now, what is over by now first."""
        notes = self.over(now)
        if not self._quiet_seconds:
            return [Note(key, 1, now, now)]
        seen = self._seen.get(key)
        if seen is None:
            notes += self._make_room()
            self._seen[key] = _Seen(1, now, now)
            return [*notes, Note(key, 1, now, now)]
        seen.count, seen.last = seen.count + 1, now
        if _is_power_of_ten(seen.count):
            notes.append(Note(key, seen.count, seen.first, now))
        return notes

    def over(self, now: float) -> list[Note]:
        """Forget what has not come for long, and return the sums of what came more than once."""
        quiet = [key for key, one in self._seen.items() if now - one.last >= self._quiet_seconds]
        return [note for key in quiet for note in self._sum(key)]

    def next_over(self) -> float | None:
        """When `over` may have something to return next; None while nothing is remembered."""
        return min((one.last + self._quiet_seconds for one in self._seen.values()), default=None)

    def _make_room(self) -> Iterator[Note]:
        if len(self._seen) >= MOST_KEYS:
            oldest = min(self._seen, key=lambda key: self._seen[key].last)
            yield from self._sum(oldest)

    def _sum(self, key: tuple[str, ...]) -> Iterator[Note]:
        one = self._seen.pop(key)
        if one.count > 1:
            yield Note(key, one.count, one.first, one.last, over=True)


def _is_power_of_ten(count: int) -> bool:
    return count >= 10 and str(count).strip("0") == "1"  # noqa: PLR2004
