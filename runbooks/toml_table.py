"""A TOML table that knows where it stands, so that its errors name file, key and remedy."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any


class CatalogueError(Exception):
    """An entry cannot be used; raised while loading, names file, key and remedy."""

    def __init__(self, file: Path, key: str, problem: str, remedy: str) -> None:
        super().__init__(f"{file.name}: {key}: {problem}; {remedy}")


class Table:
    """A TOML table that knows where it stands, and which of its keys were read."""

    def __init__(self, file: Path, key: str, content: Mapping[str, Any]) -> None:
        self.file = file
        self.key = key
        self.content = content
        self.used: set[str] = set()

    def _error(self, key: str, problem: str, remedy: str) -> CatalogueError:
        return CatalogueError(self.file, f"{self.key}.{key}".lstrip("."), problem, remedy)

    def text(self, key: str) -> str:
        """Return a text that must be there."""
        value = self.text_or_none(key)
        if value is None:
            raise self._error(key, "is missing", "add it")
        return value

    def text_or_none(self, key: str) -> str | None:
        """Return a text, or None when the key is absent."""
        self.used.add(key)
        value = self.content.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self._error(key, f"is {value!r}", "write a text that is not empty")
        return value.strip()

    def one_of(self, key: str, choices: tuple[str, ...]) -> str:
        """Return a text that must be one of the choices."""
        value = self.text(key)
        if value not in choices:
            raise self._error(key, f"is {value!r}", f"choose one of {', '.join(choices)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; empty when the key is absent."""
        self.used.add(key)
        values = self.content.get(key, [])
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise self._error(key, "is not a list of texts", 'write ["...", "..."]')
        return tuple(values)

    def table(self, key: str) -> "Table":
        """Return a table that must be there."""
        self.used.add(key)
        value = self.content.get(key)
        if not isinstance(value, dict):
            raise self._error(key, "is missing", f"add a table [{key}]")
        return Table(self.file, key, value)

    def tables(self, key: str) -> tuple["Table", ...]:
        """Return a list of tables; empty when the key is absent."""
        self.used.add(key)
        values = self.content.get(key, [])
        if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
            raise self._error(key, "is not a list of tables", f"write [[{key}]]")
        return tuple(Table(self.file, f"{key}[{n}]", each) for n, each in enumerate(values, 1))

    def numbers(self) -> Mapping[str, float]:
        """Return the whole table as numbers above 0."""
        for key, value in self.content.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise self._error(key, f"is {value!r}", "write a number above 0")
        return MappingProxyType(dict(self.content))

    def all_used(self) -> None:
        """Raise CatalogueError for a key that nobody read: it is misspelt."""
        for key in self.content:
            if key not in self.used:
                known = ", ".join(sorted(self.used))
                raise self._error(key, "is not known", f"use one of: {known}")
