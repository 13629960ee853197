"""The picture of a timeline stands alone, says what it shows, and is the same each time."""

from dataclasses import replace
from xml.etree import ElementTree as Xml

from ha.core.facts import State
from ha.simulator import picture as drawing
from ha.simulator.picture import COLOURS, picture
from ha.simulator.timeline import Bar, Lane, Mark, Timeline, timeline

SVG = "{http://www.w3.org/2000/svg}"
HOST = Lane("h1", (Bar(-5, 0, "EngineUp", "3400"), Bar(0, 40, "EngineDown", "3400")))
VM = Lane("VM", (Bar(-5, 1, "h1", ""), Bar(20, 40, "h2", "")))
DRILL = Timeline("Power off h1", -5, 40, (HOST, VM), (Mark(0, "power-off h1"), Mark(0.5, "dead")))


def parsed(made: Timeline) -> Xml.Element:
    return Xml.fromstring(picture(made))


def words(made: Timeline) -> list[str]:
    return [element.text or "" for element in parsed(made).iter(f"{SVG}text")]


def bars(made: Timeline) -> list[Xml.Element]:
    return [
        rect for rect in parsed(made).iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None
    ]


def test_it_shows_lanes_bars_marks_axis_and_legend() -> None:
    said = words(DRILL)
    assert said[0] == "Power off h1"
    for word in ("h1", "VM", "EngineDown 3400", "power-off h1", "0 s", "EngineUp", "h2"):
        assert word in said, word
    assert len(bars(DRILL)) == 4


def test_a_bar_lies_where_its_seconds_are() -> None:
    up, down, *_ = bars(DRILL)
    begins = [float(bar.get("x", "")) for bar in (up, down)]
    widths = [float(bar.get("width", "")) for bar in (up, down)]
    assert begins[0] == drawing.LEFT
    assert abs(begins[0] + widths[0] - begins[1]) < 0.2
    assert abs(widths[1] / widths[0] - 8) < 0.1
    assert abs(begins[1] + widths[1] - (drawing.LEFT + drawing.WIDTH)) < 0.2


def test_texts_of_marks_at_the_same_moment_do_not_cover_each_other() -> None:
    marked = {
        text.text: text.get("y")
        for text in parsed(DRILL).iter(f"{SVG}text")
        if text.text in ("power-off h1", "dead")
    }
    assert len(set(marked.values())) == 2


def test_text_is_escaped_and_cannot_break_the_picture() -> None:
    nasty = '<script>&"\x00\x1b]]>'
    made = replace(DRILL, title=nasty, marks=(Mark(0, nasty),), lanes=(Lane(nasty, HOST.bars),))
    assert [word for word in words(made) if "<script>" in word] == ['<script>&"  ]]>'] * 3
    assert not list(parsed(made).iter(f"{SVG}script"))


def test_nothing_outside_is_referred_to_and_dark_pages_have_their_colours() -> None:
    made = picture(DRILL)
    assert made.count("http") == 1  # the name of SVG itself
    for reference in ("href", "url(", "@import"):
        assert reference not in made
    assert "prefers-color-scheme: dark" in made


def test_every_state_has_a_colour_of_its_own() -> None:
    assert {state.value for state in State} <= set(COLOURS)
    fills = [COLOURS[state.value][0] for state in State]
    assert len(set(fills)) == len(fills)


def test_words_can_be_read_on_their_bars() -> None:
    for word, (fill, ink) in [*COLOURS.items(), *(("", pair) for pair in drawing.OTHERS)]:
        assert contrast(fill, ink) >= 3.5, (word, fill, contrast(fill, ink))


def test_long_times_are_in_minutes() -> None:
    assert "5 min" in words(replace(DRILL, end_seconds=600))
    assert "40 s" in words(DRILL)


def test_days_have_an_axis_and_nothing_is_a_picture_too() -> None:
    assert len(words(replace(DRILL, end_seconds=30 * 86400.0))) < 40
    assert words(timeline("Nothing", [], [], end_seconds=0.0))[0] == "Nothing"


def test_the_same_timeline_is_the_same_picture() -> None:
    assert picture(DRILL) == picture(DRILL)


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
