"""A run's journal as a picture: one bar a step over the time it took, in SVG.

A wait for a person is drawn shorter than it was, or an approval after a night would press
everything else into a corner; its true length stands beside it.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from xml.etree import ElementTree as Xml

from tasks.journal import Entry, Kind, Phase

SHOWN_KINDS = (Kind.LOOK, Kind.CHECK, Kind.CHANGE, Kind.WAIT, Kind.GATE)
ENDS = (Phase.OUTCOME, Phase.FAILURE, Phase.DECISION)
COLOURS = {
    Kind.LOOK: "#8da0b3",
    Kind.CHECK: "#5b8db8",
    Kind.CHANGE: "#c96a1b",
    Kind.WAIT: "#b5a642",
    Kind.GATE: "#7a5195",
}
FAILED_COLOUR = "#b00020"
ROWS_MAX = 120
PERSON_SECONDS = 30.0  # the longest that a gate is drawn
LEFT, WIDTH, RIGHT = 300, 640, 110
ROW, TOP, BOTTOM = 18, 44, 12


@dataclass(frozen=True, slots=True)
class Bar:
    """One step; `begin` and `end` are seconds on the picture's axis."""

    kind: Kind
    name: str
    begin: float
    end: float
    took_seconds: float
    failed: bool
    open: bool  # begun and not ended


def picture(entries: Sequence[Entry], title: str) -> str:
    """Return the SVG of a run's entries; an empty run has a title only."""
    bars = drawn_shorter(bars_of(entries))[:ROWS_MAX]
    total = max((bar.end for bar in bars), default=1.0) or 1.0
    height = TOP + ROW * len(bars) + BOTTOM
    svg = Xml.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {LEFT + WIDTH + RIGHT} {height}",
        width=str(LEFT + WIDTH + RIGHT),
        height=str(height),
    )
    Xml.SubElement(svg, "rect", width="100%", height="100%", fill="#ffffff")
    _text(svg, (8, 18), title, 14)
    _legend(svg)
    for number, bar in enumerate(bars):
        _draw(svg, bar, TOP + ROW * number, WIDTH / total)
    return Xml.tostring(svg, encoding="unicode")


def data_url(svg: str) -> str:
    """Return an SVG as the address of an image that needs no server."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')}"


def bars_of(entries: Sequence[Entry]) -> tuple[Bar, ...]:
    """Return the steps in the order in which they began, from the first one's begin on."""
    shown = [entry for entry in entries if entry.kind in SHOWN_KINDS]
    if not shown:
        return ()
    first, last = shown[0].at, shown[-1].at
    begins: dict[tuple[Kind, str], datetime] = {}
    ends: dict[tuple[Kind, str], Entry] = {}
    for entry in shown:
        key = (entry.kind, entry.step)
        if entry.phase is Phase.INTENT:
            begins.setdefault(key, entry.at)
        elif entry.phase in ENDS:
            ends[key] = entry
    return tuple(_bar(key, at, ends.get(key), (first, last)) for key, at in begins.items())


def drawn_shorter(bars: Sequence[Bar]) -> tuple[Bar, ...]:
    """Take out of the axis what each gate waited beyond PERSON_SECONDS."""
    result = list(bars)
    for index, gate in enumerate(bars):
        extra = gate.end - gate.begin - PERSON_SECONDS
        if gate.kind is not Kind.GATE or extra <= 0:
            continue
        current = result[index]
        result[index] = replace(current, end=current.begin + PERSON_SECONDS)
        for later in range(index + 1, len(result)):
            moved = result[later]
            result[later] = replace(moved, begin=moved.begin - extra, end=moved.end - extra)
    return tuple(result)


def _bar(
    key: tuple[Kind, str], at: datetime, end: Entry | None, span: tuple[datetime, datetime]
) -> Bar:
    first, last = span
    until = last if end is None else end.at
    took = (until - at).total_seconds()
    begin = (at - first).total_seconds()
    failed = end is not None and end.phase is Phase.FAILURE
    return Bar(key[0], key[1], begin, begin + max(0.0, took), took, failed, end is None)


def _draw(svg: Xml.Element, bar: Bar, y: int, scale: float) -> None:
    x = LEFT + bar.begin * scale
    width = max(2.0, (bar.end - bar.begin) * scale)
    colour = FAILED_COLOUR if bar.failed else COLOURS[bar.kind]
    _text(svg, (LEFT - 8, y + 12), bar.name, 11, anchor="end")
    Xml.SubElement(
        svg,
        "rect",
        x=f"{x:.1f}",
        y=str(y + 2),
        width=f"{width:.1f}",
        height=str(ROW - 5),
        rx="2",
        fill=colour,
    )
    said = f"{_length(bar.took_seconds)}{' failed' if bar.failed else ''}"
    _text(svg, (x + width + 4, y + 12), f"{said}{', not ended' if bar.open else ''}", 10)


def _legend(svg: Xml.Element) -> None:
    x = LEFT
    for kind, colour in (*COLOURS.items(), ("failed", FAILED_COLOUR)):
        Xml.SubElement(svg, "rect", x=str(x), y="26", width="10", height="10", fill=colour)
        _text(svg, (x + 14, 35), str(kind), 11)
        x += 80


def _text(
    parent: Xml.Element, at: tuple[float, float], text: str, size: int, *, anchor: str = "start"
) -> None:
    x, y = at
    element = Xml.SubElement(parent, "text", x=f"{x:.1f}", y=f"{y:.1f}", fill="#222222")
    element.set("font-size", str(size))
    element.set("font-family", "DejaVu Sans, sans-serif")
    element.set("text-anchor", anchor)
    element.text = text


def _length(seconds: float) -> str:
    for unit_seconds, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit_seconds:
            return f"{seconds / unit_seconds:.0f} {unit}"
    return f"{seconds:.1f} s"
