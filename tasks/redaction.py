"""The guard that keeps secrets out of the journal: known values are struck out of all text."""

import threading
from typing import Any

STRUCK_OUT = "[secret]"
SHORTEST = 4  # a shorter one would strike out innocent text and protects nothing

_values: set[str] = set()
_guard = threading.Lock()


def register_secret(value: str) -> None:
    """Make a secret known to this process: it is struck out wherever it would be recorded.

    Raises: ValueError if it is shorter than 4 characters.
    """
    if len(value) < SHORTEST:
        raise ValueError(f"a secret of less than {SHORTEST} characters cannot be kept out of text")
    with _guard:
        _values.add(value)


def redacted(value: Any) -> Any:
    """Return a JSON value with every registered secret struck out, in keys too."""
    if isinstance(value, str):
        return _struck_out(value)
    if isinstance(value, dict):
        return {redacted(key): redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value


def _struck_out(text: str) -> str:
    with _guard:
        values = sorted(_values, key=len, reverse=True)
    for value in values:
        text = text.replace(value, STRUCK_OUT)
    return text
