"""What few verbs need, and what takes long to import: imported when it is first asked for.

`--vm-status` is asked for every few seconds by scripts, and most of its time would be imports.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any


class Later:
    """Stands for an object that is made when something is first asked of it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


def later(module: str, name: str) -> Callable[..., Any]:
    """Return a function or class of a module that is imported at the first call."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(module), name)(*arguments)

    return call
