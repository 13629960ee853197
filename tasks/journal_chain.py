"""The hash chain: each entry's hash is taken over the hash of the entry before and all of its own.

hash = SHA-256(prev_hash + "\\n" + canonical JSON of the columns in COLUMNS), in hexadecimal. The
first entry follows `genesis(journal_id)`, so a chain belongs to one journal.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.journal_tables import EntryRow

# `payload` is covered as the text that is stored. prev_hash goes in front, hash comes out.
COLUMNS = (
    "seq",
    "run_id",
    "attempt",
    "at",
    "kind",
    "step",
    "phase",
    "cluster",
    "host",
    "actor",
    "via",
    "payload",
    "signature",
)


def canonical(value: Any) -> str:
    """Return the one JSON text of a value. Raises: TypeError if it is not JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def genesis(journal_id: str) -> str:
    """Return what the first entry of a journal has as `prev_hash`."""
    return hashlib.sha256(f"hosted-engine-runbooks journal {journal_id}".encode()).hexdigest()


def link(prev_hash: str, columns: Mapping[str, Any]) -> str:
    """Return the hash of an entry with these columns (others are left out)."""
    content = canonical({name: columns[name] for name in COLUMNS})
    # A lone surrogate cannot be stored by any writer; a tampered file may hold one all the same.
    return hashlib.sha256(f"{prev_hash}\n{content}".encode(errors="surrogatepass")).hexdigest()


def columns_of(row: EntryRow) -> dict[str, Any]:
    """Return the hashed columns of a row."""
    return {name: getattr(row, name) for name in COLUMNS}


def chained(prev_hash: str, rows: Iterable[EntryRow]) -> str:
    """Return the hash that the last of these rows would have, were they chained."""
    for row in rows:
        prev_hash = link(prev_hash, columns_of(row))
    return prev_hash
