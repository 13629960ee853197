"""The way back of a run that did not complete: its entry's lines, filled in from the journal."""

from collections.abc import Iterator
from shlex import quote

from runbooks.catalogue import Entry
from tasks.checksums import whole_command
from tasks.journal import Entry as JournalEntry
from tasks.journal import Journal, Kind, Phase
from tasks.journal_rules import RELEASE_LEASE
from tasks.witnesses import shape_of

# What the entry's lines leave open. Until a write has begun there is nothing to write back, and a
# line that says otherwise would be untrue.
WRITES = frozenset(
    {"write_zeros", "restore_backup", "initialise_lockspace", "restore_lockspace_area"}
)
OPEN_WORDS = frozenset(
    {"RUN", "ACTOR:", "if=BACKUP", "of=TARGET", "bs=1M", "count=SIZE/1M", "of=WHITEBOARD"}
)
WHOLE = "whole"  # no word of a line: the command that compares the backup's checksum
# The run that wrote made the backup; its undo found it in the journal, brought it to the host that
# acts, and made one itself of what was there before.
BACKUP_STEPS = (
    (Kind.CHANGE, "fetch_backup"),
    (Kind.CHANGE, "back_up_whiteboard"),
    (Kind.CHECK, "require_backup_record"),
    (Kind.CHANGE, "back_up_lockspace"),
    (Kind.CHECK, "require_lockspace_backup"),
)


def way_back_lines(journal: Journal, run_id: str, entry: Entry) -> Iterator[str]:
    """Return what a run has changed so far, what it leaves behind, and the way back."""
    done = [each for each in journal.entries(run_id) if each.kind is Kind.CHANGE]
    begun = [each.step for each in done if each.phase is Phase.INTENT]
    changed = [each.step for each in done if each.phase is Phase.OUTCOME]
    unfinished = dict.fromkeys(step for step in begun if step not in changed)
    if not begun:
        yield "Nothing has been changed."
        return
    if RELEASE_LEASE in changed:  # which is only done where nothing else was changed
        yield "Global maintenance was set, and left again: nothing else has been changed."
        return
    yield f"Changed so far: {', '.join(changed) or 'nothing for certain'}."
    if unfinished:
        yield f"Begun and not known to have ended: {', '.join(unfinished)}."
    yield f"Left behind: {entry.on_failure.leaves}"
    yield "The way back:"
    known = _of_run(journal, run_id)
    if WRITES.intersection(begun):
        known |= _known(journal, run_id)
    for line in entry.on_failure.way_back:
        words = line.split(" ")
        if all(word in known for word in words if word in OPEN_WORDS):
            if "if=BACKUP" in words:  # by hand nothing else tells whether it is whole
                words = [f"{known[WHOLE]} && dd" if word == "dd" else word for word in words]
            yield "  - " + " ".join(known.get(word, word) for word in words)
    for each in done:
        yield from _told_by(each)


def _of_run(journal: Journal, run_id: str) -> dict[str, str]:
    given = journal.run(run_id).parameters
    words = {"CLUSTER": quote(str(given.get("cluster", "CLUSTER")))}
    if host := given.get("host"):
        words["host=HOST"] = quote(f"host={host}")
    found = journal.find(run_id, Kind.CHECK, "require_one_target", Phase.OUTCOME)
    if found is not None:
        words["of=WHITEBOARD"] = quote(f"of={found.payload['value']['path']}")
    return words


def _told_by(change: JournalEntry) -> Iterator[str]:
    """Return the commands that a change itself named as the way back, in its value `way_back`."""
    value = change.payload.get("value")
    if change.phase is Phase.OUTCOME and isinstance(value, dict):
        for command in value.get("way_back", ()):
            yield f"  - on {value.get('host', change.host)}: {command}"


def _known(journal: Journal, run_id: str) -> dict[str, str]:
    found = (journal.find(run_id, kind, step, Phase.OUTCOME) for kind, step in BACKUP_STEPS)
    for entry in filter(None, found):
        backup = entry.payload["value"]
        shape = shape_of(backup["size_bytes"])
        return {
            "RUN": run_id,
            "ACTOR:": f"{backup['host']}:",
            "if=BACKUP": quote(f"if={backup['path']}"),
            "of=TARGET": quote(f"of={backup['target']}"),
            "bs=1M": f"bs={shape.block_bytes}",
            "count=SIZE/1M": f"count={shape.count}",
            WHOLE: whole_command(backup["path"], backup["sha256"]),
        }
    return {}
