"""A line of a table: what was measured, the aim, what was reached."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HEADINGS = ("what", "aim", "reached", "beside it", "how")


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement as people read it."""

    what: str
    aim: str
    reached: str
    beside: str
    """The same of what it is compared with."""
    how: str

    def cells(self) -> Sequence[str]:
        return self.what, self.aim, self.reached, self.beside, self.how


def table(rows: Iterable[Row]) -> str:
    """Return the rows as text in columns."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS) - 1)]
    shown = ["  ".join([*map(str.ljust, line, widths), line[-1]]) for line in lines]
    return "\n".join([shown[0], "-" * len(shown[0]), *shown[1:]])
