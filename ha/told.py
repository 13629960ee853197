"""Values that another process sent, perhaps of another version: each is looked at before use."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Told:
    """A JSON object; what is not of the kind that is asked for is None."""

    values: Mapping[str, object]

    def number(self, key: str) -> float | None:
        """A finite number; a flag is 1 or 0."""
        return number_of(self.values.get(key))

    def text(self, key: str) -> str | None:
        """A text."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def numbers(self, key: str) -> Mapping[str, float] | None:
        """An object of numbers, without what is none."""
        value = self.values.get(key)
        if not isinstance(value, Mapping):
            return None
        found = {str(name): number_of(each) for name, each in value.items()}
        return {name: each for name, each in found.items() if each is not None}

    def texts(self, key: str) -> Sequence[str] | None:
        """A list, with only its texts."""
        value = self.values.get(key)
        if not isinstance(value, list):
            return None
        return [each for each in value if isinstance(each, str)]

    def rows(self, key: str) -> Sequence[object]:
        """A list of whatever; empty when it is none."""
        value = self.values.get(key)
        return value if isinstance(value, list) else ()


def number_of(value: object) -> float | None:
    """Return the value if it is a finite number; a flag is 1 or 0."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
