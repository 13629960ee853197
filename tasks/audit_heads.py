"""The newest hash of the journal, kept on the cluster's hosts: what a cut tail cannot hide from.

A line is "SEQ HASH TIME". Each journal has a file of its own there, named by its id.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tasks import host_notes
from tasks.env import world
from tasks.journal import Journal, JournalError

BEGINNING = "journal-heads-"
LINE = re.compile(r"^(\d{1,18}) ([0-9a-f]{64}) (\S{1,40})$")


@dataclass(frozen=True, slots=True)
class KeptHead:
    """A hash that a host keeps: the journal had it at this entry, at this time of its own."""

    host: str
    seq: int
    hash: str
    at: str


@dataclass(frozen=True, slots=True)
class KeptHeads:
    """What the hosts of a cluster keep, and which of them could not be asked or have nothing."""

    cluster: str
    heads: tuple[KeptHead, ...]
    troubles: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def file_of(journal_id: str) -> str:
    """Return the name of the file on the hosts."""
    return f"{BEGINNING}{journal_id}"


def tell_heads(cluster: str, warn: Callable[[str], None]) -> None:
    """Leave the journal's newest hash on every host of a cluster; `warn` is told of trouble."""
    journal = world().journal
    try:
        seq, digest = journal.head()
        name = file_of(journal.journal_id())
    except JournalError as error:
        warn(f"the journal's newest hash could not be read: {error}")
        return
    line = f"{seq} {digest} {world().clock.now():%Y-%m-%dT%H:%M:%SZ}"
    for host, trouble in host_notes.append_line(cluster, name, line).items():
        warn(f"{host}: the journal's newest hash could not be left there: {trouble}")


def kept_heads(journal: Journal, cluster: str) -> KeptHeads:
    """Return the heads of a journal that the hosts of a cluster keep."""
    heads: list[KeptHead] = []
    troubles: list[str] = []
    name = file_of(journal.journal_id())
    # A cluster on which nothing was ever run has nothing to keep.
    expected = bool(journal.runs(cluster, 1))
    for host, answer in host_notes.read_text(cluster, name).items():
        found = list(_heads(host, answer.text or ""))
        heads.extend(found)
        if answer.trouble is not None:
            troubles.append(answer.trouble)
        elif expected and not found:
            troubles.append(f"{host} keeps no hash of this journal")
    return KeptHeads(cluster, tuple(heads), tuple(troubles), tuple(_others(cluster, name)))


def _others(cluster: str, name: str) -> Iterator[str]:
    for host, answer in host_notes.read_names(cluster, BEGINNING).items():
        others = [each for each in (answer.text or "").split() if each != name]
        if others:
            ids = ", ".join(each.removeprefix(BEGINNING)[:8] for each in others)
            yield (
                f"{host} also keeps hashes of another journal ({ids}): of another control node,"
                " or of one that was here before"
            )


def _heads(host: str, text: str) -> Iterator[KeptHead]:
    # Other lines were cut off by a full disk, or by the bound of what is read.
    for match in filter(None, map(LINE.match, text.splitlines())):
        yield KeptHead(host, int(match[1]), match[2], match[3])
