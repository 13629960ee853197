"""A run's journal as a person reads it: what came of each step, in order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.journal import Entry, Kind, Phase

CAME_TO_CHARACTERS = 160
WAY_BACK = "way_back"  # the note of a run that failed: what it leaves, and the way back


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a run's timeline; `at` is wall time (UTC)."""

    at: str
    what: str
    host: str
    came_to: str
    who: str


def timeline(entries: Iterable[Entry]) -> Iterator[Line]:
    """Return what is known of each step: its outcome, or that it has begun and not ended."""
    known = list(entries)
    ended = {(each.kind, each.step) for each in known if each.phase is not Phase.INTENT}
    for entry in known:
        if entry.phase is Phase.NOTE:
            continue
        if entry.phase is Phase.INTENT and (entry.kind, entry.step) in ended:
            continue
        who = f"{entry.actor} ({entry.via})" if entry.actor and entry.via else entry.actor
        what = f"{entry.kind.value} {entry.step}"
        yield Line(f"{entry.at:%H:%M:%S}", what, entry.host, came_to(entry), who)


def came_to(entry: Entry) -> str:
    """Return what an entry says came of its step, on one line."""
    payload = entry.payload
    if entry.phase is Phase.INTENT:
        said = "waits for a decision" if entry.kind is Kind.GATE else "begun, not ended"
    elif entry.phase is Phase.FAILURE:
        said = f"{payload.get('error', 'failed')}: {payload.get('why', '')}"
    elif entry.kind is Kind.GATE:
        said = f"{payload.get('decision', entry.phase.value)}: {payload.get('reason', '')}"
    elif entry.kind is Kind.REMOTE:
        said = f"exit code {payload.get('exit_code')}, {payload.get('how')}"
    elif entry.kind is Kind.CHANGE:
        value = payload.get("value", "")
        said = value if isinstance(value, str) else "changed"
    elif entry.phase is Phase.OUTCOME:
        said = "done" if entry.kind is Kind.LOOK else "holds"
    elif entry.kind is Kind.RUN and "as" in payload:
        said = f"{entry.phase.value}: {payload['as']}"
    else:
        said = entry.phase.value
    line = " ".join(str(said).split())
    return line if len(line) <= CAME_TO_CHARACTERS else line[: CAME_TO_CHARACTERS - 1] + "…"
