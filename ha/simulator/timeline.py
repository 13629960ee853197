"""What happened over time in a cluster, real or simulated: lanes of bars, and marks.

Who watches notes each change of a lane when it happens; the bars follow from the changes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """From `at_seconds` on a lane shows this word; an empty word shows nothing."""

    at_seconds: float
    lane: str
    word: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A word that held for a while: a state, a host, "good"; the note is beside it, as a score."""

    begin_seconds: float
    end_seconds: float
    word: str
    note: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One row: a host, the engine VM, the engine's health."""

    name: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: a fault, or else what came of it."""

    at_seconds: float
    text: str
    fault: bool = True


@dataclass(frozen=True, slots=True)
class Timeline:
    """Seconds count from the first fault: what is negative came before it."""

    title: str
    begin_seconds: float
    end_seconds: float
    lanes: tuple[Lane, ...]
    marks: tuple[Mark, ...]


def timeline(
    title: str,
    changes: Iterable[Change],
    marks: Sequence[Mark],
    *,
    end_seconds: float,
    order: Sequence[str] = (),
) -> Timeline:
    """Return the timeline of what was noted, with the first fault at zero.

    All times are of one clock, `end_seconds` too. Lanes stand in this order, others after them in
    that of their first change.
    """
    noted = sorted(changes, key=lambda change: change.at_seconds)
    faults = [mark.at_seconds for mark in marks if mark.fault]
    first = min((change.at_seconds for change in noted), default=0.0)
    zero = min(faults, default=first)
    noted_names = dict.fromkeys(change.lane for change in noted)
    names = [name for name in dict.fromkeys([*order, *noted_names]) if name in noted_names]
    return Timeline(
        title=title,
        begin_seconds=min(first, zero) - zero,
        end_seconds=end_seconds - zero,
        lanes=tuple(Lane(name, _bars(noted, name, zero, end_seconds)) for name in names),
        marks=tuple(
            Mark(mark.at_seconds - zero, mark.text, mark.fault)
            for mark in sorted(marks, key=lambda mark: mark.at_seconds)
        ),
    )


def _bars(changes: Sequence[Change], lane: str, zero: float, end_seconds: float) -> tuple[Bar, ...]:
    """Join what did not change, and leave out where there is nothing to show."""
    own: list[Change] = []
    for change in changes:
        same = own and (own[-1].word, own[-1].note) == (change.word, change.note)
        if change.lane == lane and not same:
            own.append(change)
    ends = [*(change.at_seconds for change in own[1:]), end_seconds]
    return tuple(
        Bar(change.at_seconds - zero, end - zero, change.word, change.note)
        for change, end in zip(own, ends, strict=True)
        if change.word and end > change.at_seconds
    )
