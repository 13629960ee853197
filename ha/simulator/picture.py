"""A timeline as a picture in SVG: readable on light and on dark pages, and alone.

A narrow bar has no room for its word: the legend tells the colour, and its tooltip the rest.
"""

import math
from collections.abc import Iterator
from itertools import count
from xml.etree import ElementTree as Xml

from ha.simulator.timeline import Bar, Lane, Mark, Timeline

# Fill and ink of a word; both are the same on a light and on a dark page.
COLOURS = {
    "EngineUp": ("#2e8b57", "#ffffff"),
    "EngineDown": ("#9aa5b1", "#111111"),
    "EngineStart": ("#56a3d9", "#111111"),
    "EngineStarting": ("#2f6fa8", "#ffffff"),
    "EngineUpBadHealth": ("#e0a526", "#111111"),
    "EngineStop": ("#d9772b", "#111111"),
    "EngineForceStop": ("#a8501a", "#ffffff"),
    "EngineMaybeAway": ("#d8c64a", "#111111"),
    "EngineUnexpectedlyDown": ("#b3261e", "#ffffff"),
    "GlobalMaintenance": ("#7a5195", "#ffffff"),
    "LocalMaintenance": ("#a67fc0", "#111111"),
    "UnknownLocalVmState": ("#8c6d46", "#ffffff"),
    "ReinitializeFSM": ("#c9d6e2", "#111111"),
    "StartState": ("#dfe7ee", "#111111"),
    "AgentStopped": ("#5d6670", "#ffffff"),
    "silent": ("#6f6257", "#ffffff"),
    "no power": ("#3a3a3a", "#ffffff"),
    "good": ("#2e8b57", "#ffffff"),
    "no answer": ("#b3261e", "#ffffff"),
}
# For other words, as a host's name in the VM's lane, in the order in which they appear.
OTHERS = (
    ("#3f7fbf", "#ffffff"),
    ("#c98a1b", "#111111"),
    ("#3a9a8f", "#111111"),
    ("#a05195", "#ffffff"),
    ("#7d8f2a", "#111111"),
    ("#c2567a", "#ffffff"),
)
STYLE = """
.page { fill: #ffffff } text { font-family: "DejaVu Sans", Verdana, sans-serif }
.ink { fill: #222222 } .faint { fill: #5a5a5a } .grid { stroke: #d5d5d5 }
.fault { stroke: #c0261c } .told { stroke: #4a5a6a } .faulty { fill: #c0261c }
.halo { stroke: #ffffff; stroke-width: 4px; paint-order: stroke }
@media (prefers-color-scheme: dark) {
  .page { fill: #16191d } .ink { fill: #e6e6e6 } .faint { fill: #a9b0b8 }
  .grid { stroke: #3a4047 } .fault { stroke: #ff6b5e } .told { stroke: #9db1c5 }
  .faulty { fill: #ff8a80 } .halo { stroke: #16191d }
}
"""
LEFT, WIDTH, RIGHT = 110, 820, 30
LANE, BAR, TOP = 32, 22, 34
MARK_ROW, AXIS, LEGEND_ROW = 15, 30, 18
CHARACTER = 0.62  # of a letter's size, on average, with some room
SMALL = 11
IN_MINUTES_FROM_SECONDS = 240.0
STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
TICKS_MOST = 12


def picture(timeline: Timeline) -> str:
    """Return the SVG; a timeline of nothing has a title and an axis only."""
    scale = _Scale(timeline)
    rows = list(_rows_of_marks(timeline, scale))
    lanes_at = TOP + MARK_ROW * (max((row for row, _, _ in rows), default=-1) + 1) + 6
    axis_at = lanes_at + LANE * len(timeline.lanes)
    colours = _colours(timeline)
    legend = list(_places_in_legend(list(colours)))
    legend_at = axis_at + AXIS + 6
    height = legend_at + LEGEND_ROW * (max((row for row, _, _ in legend), default=-1) + 1) + 8
    width = LEFT + WIDTH + RIGHT
    svg = Xml.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width} {height}",
            "width": str(width),
            "height": str(height),
            "role": "img",
        },
    )
    Xml.SubElement(svg, "title").text = _printable(timeline.title)
    Xml.SubElement(svg, "style").text = STYLE
    Xml.SubElement(svg, "rect", {"width": "100%", "height": "100%", "class": "page"})
    _text(svg, (8, 20), timeline.title, 14)
    _axis(svg, scale, lanes_at, axis_at)
    for number, lane in enumerate(timeline.lanes):
        _lane(svg, lane, scale, lanes_at + LANE * number, colours)
    for row, _, mark in rows:
        _line_of_mark(svg, mark, scale, TOP + MARK_ROW * row, axis_at)
    for row, x, mark in rows:
        style = "faulty halo" if mark.fault else "ink halo"
        _text(svg, (x, TOP + MARK_ROW * row + 10), mark.text, SMALL, style=style)
    for row, x, word in legend:
        _legend(svg, word, (x, legend_at + LEGEND_ROW * row), colours[word][0])
    return Xml.tostring(svg, encoding="unicode") + "\n"


class _Scale:
    """From seconds to places."""

    def __init__(self, timeline: Timeline) -> None:
        self.begin_seconds = timeline.begin_seconds
        self.end_seconds = max(timeline.end_seconds, timeline.begin_seconds + 1.0)

    @property
    def seconds(self) -> float:
        return self.end_seconds - self.begin_seconds

    def x(self, at_seconds: float) -> float:
        inside = min(max(at_seconds, self.begin_seconds), self.end_seconds)
        return LEFT + (inside - self.begin_seconds) * WIDTH / self.seconds


def _axis(svg: Xml.Element, scale: _Scale, top: float, bottom: float) -> None:
    minutes = scale.seconds > IN_MINUTES_FROM_SECONDS
    fitting = (step for step in STEPS if scale.seconds / step <= TICKS_MOST)
    step = next(fitting, math.ceil(scale.seconds / TICKS_MOST))
    for number in count(math.ceil(scale.begin_seconds / step)):
        at_seconds = number * step
        if at_seconds > scale.end_seconds:
            break
        x = scale.x(at_seconds)
        _line(svg, (x, top - 4), bottom + 4, "grid")
        said = f"{at_seconds / 60:g} min" if minutes else f"{at_seconds:g} s"
        _text(svg, (x, bottom + 18), said, SMALL, style="faint", anchor="middle")


def _lane(
    svg: Xml.Element, lane: Lane, scale: _Scale, y: float, colours: dict[str, tuple[str, str]]
) -> None:
    _text(svg, (LEFT - 10, y + BAR / 2 + 4), lane.name, 12, anchor="end")
    for bar in lane.bars:
        begin, end = scale.x(bar.begin_seconds), scale.x(bar.end_seconds)
        fill, ink = colours[bar.word]
        width = max(1.5, end - begin)
        place = {"x": f"{begin:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}", "height": str(BAR)}
        drawn = Xml.SubElement(svg, "rect", {**place, "rx": "2", "fill": fill})
        Xml.SubElement(drawn, "title").text = _printable(_said(bar))
        for words in (f"{bar.word} {bar.note}".rstrip(), bar.word):
            if _width(words) <= width - 6:
                middle = (begin + width / 2, y + BAR / 2 + 4)
                _text(svg, middle, words, SMALL, fill=ink, anchor="middle")
                break


def _said(bar: Bar) -> str:
    words = f"{bar.word} {bar.note}".rstrip()
    return f"{words}: {bar.begin_seconds:.1f} s to {bar.end_seconds:.1f} s"


def _rows_of_marks(timeline: Timeline, scale: _Scale) -> Iterator[tuple[int, float, Mark]]:
    """The first row in which a mark's text meets no other, and where its text begins."""
    taken: list[float] = []
    for mark in timeline.marks:
        width = _width(mark.text) + 10
        x = max(8.0, min(scale.x(mark.at_seconds) + 4, LEFT + WIDTH + RIGHT - width))
        row = next((row for row, end in enumerate(taken) if end <= x), len(taken))
        taken[row : row + 1] = [x + width]
        yield row, x, mark


def _line_of_mark(svg: Xml.Element, mark: Mark, scale: _Scale, top: float, bottom: float) -> None:
    line = _line(svg, (scale.x(mark.at_seconds), top), bottom, "fault" if mark.fault else "told")
    line.set("stroke-dasharray", "5 3" if mark.fault else "1 3")


def _colours(timeline: Timeline) -> dict[str, tuple[str, str]]:
    """The colours of the words in use, as they are in the legend: the known ones first."""
    used = dict.fromkeys(bar.word for lane in timeline.lanes for bar in lane.bars)
    known = {word: colours for word, colours in COLOURS.items() if word in used}
    others = [word for word in used if word not in COLOURS]
    return known | {word: OTHERS[number % len(OTHERS)] for number, word in enumerate(others)}


def _places_in_legend(words: list[str]) -> Iterator[tuple[int, float, str]]:
    row, x = 0, float(LEFT)
    for word in words:
        width = _width(word) + 34
        if x > LEFT and x + width > LEFT + WIDTH + RIGHT:
            row, x = row + 1, float(LEFT)
        yield row, x, word
        x += width


def _legend(svg: Xml.Element, word: str, at: tuple[float, float], fill: str) -> None:
    x, y = at
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": "11", "height": "11", "rx": "2"}
    Xml.SubElement(svg, "rect", {**place, "fill": fill})
    _text(svg, (x + 16, y + 10), word, SMALL, style="faint")


def _line(svg: Xml.Element, top: tuple[float, float], bottom: float, style: str) -> Xml.Element:
    x, y = (f"{value:.1f}" for value in top)
    return Xml.SubElement(
        svg, "line", {"x1": x, "x2": x, "y1": y, "y2": f"{bottom:.1f}", "class": style}
    )


def _text(
    svg: Xml.Element,
    at: tuple[float, float],
    text: str,
    size: int,
    *,
    style: str = "ink",
    fill: str = "",
    anchor: str = "start",
) -> None:
    colour = {"fill": fill} if fill else {"class": style}
    place = {"x": f"{at[0]:.1f}", "y": f"{at[1]:.1f}", "font-size": str(size)}
    Xml.SubElement(svg, "text", {**place, **colour, "text-anchor": anchor}).text = _printable(text)


def _printable(text: str) -> str:
    """XML has no way to write a control character."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _width(text: str) -> float:
    return len(text) * SMALL * CHARACTER
