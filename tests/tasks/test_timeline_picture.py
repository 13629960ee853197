"""A run's journal as a picture: what is drawn, where, and how long."""

import base64
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as Xml

from tasks.journal import Entry, Kind, Phase
from tasks.timeline_picture import PERSON_SECONDS, bars_of, data_url, drawn_shorter, picture

AT = datetime(2026, 11, 22, 3, 0, 0, tzinfo=UTC)
HOUR = 3600.0


def entry(seconds: float, kind: Kind, step: str, phase: Phase) -> Entry:
    at = AT + timedelta(seconds=seconds)
    return Entry(1, "r", 1, at, kind, step, phase, "lab", "", "", "", {})


def night() -> list[Entry]:
    """A check, a gate that waited for five hours, a change that failed, one that is open."""
    return [
        entry(0, Kind.RUN, "metadata-too-new", Phase.ATTEMPT),
        entry(1, Kind.CHECK, "require_x", Phase.INTENT),
        entry(4, Kind.CHECK, "require_x", Phase.OUTCOME),
        entry(5, Kind.GATE, "approve", Phase.INTENT),
        entry(5, Kind.GATE, "approve", Phase.NOTE),
        entry(5 + 5 * HOUR, Kind.GATE, "approve", Phase.DECISION),
        entry(6 + 5 * HOUR, Kind.CHANGE, "write@h1", Phase.INTENT),
        entry(9 + 5 * HOUR, Kind.CHANGE, "write@h1", Phase.FAILURE),
        entry(10 + 5 * HOUR, Kind.WAIT, "wait_y", Phase.INTENT),
    ]


def test_each_step_is_one_bar_from_its_begin_to_its_end() -> None:
    bars = bars_of(night())
    assert [(bar.name, bar.begin, bar.took_seconds) for bar in bars] == [
        ("require_x", 0, 3),
        ("approve", 4, 5 * HOUR),
        ("write@h1", 5 + 5 * HOUR, 3),
        ("wait_y", 9 + 5 * HOUR, 0),
    ]
    assert [(bar.failed, bar.open) for bar in bars[2:]] == [(True, False), (False, True)]


def test_a_wait_for_a_person_is_drawn_shorter_and_says_its_true_length() -> None:
    bars = drawn_shorter(bars_of(night()))
    assert [(bar.begin, bar.end) for bar in bars] == [
        (0, 3),
        (4, 4 + PERSON_SECONDS),
        (5 + PERSON_SECONDS, 8 + PERSON_SECONDS),
        (9 + PERSON_SECONDS, 9 + PERSON_SECONDS),
    ]
    said = [text.text for text in Xml.fromstring(picture(night(), "t")).iter() if text.text]
    assert "5 h" in said
    assert "3.0 s failed" in said
    assert "0.0 s, not ended" in said


def test_a_retried_step_ends_with_its_last_outcome() -> None:
    retried = [*night(), entry(12 + 5 * HOUR, Kind.CHANGE, "write@h1", Phase.OUTCOME)]
    (write,) = [bar for bar in bars_of(retried) if bar.name == "write@h1"]
    assert (write.took_seconds, write.failed) == (6, False)


def test_a_clock_that_went_back_draws_no_bar_of_negative_length() -> None:
    bars = bars_of(
        [entry(9, Kind.WAIT, "w", Phase.INTENT), entry(2, Kind.WAIT, "w", Phase.OUTCOME)]
    )
    assert [(bar.begin, bar.end) for bar in bars] == [(0, 0)]


def test_what_a_step_is_called_cannot_break_the_picture() -> None:
    svg = picture([entry(0, Kind.LOOK, "<script>&", Phase.INTENT)], "a & b <i>")
    texts = [element.text for element in Xml.fromstring(svg).iter() if element.text]
    assert {"<script>&", "a & b <i>"} <= set(texts)


def test_a_run_without_steps_has_a_picture_with_its_title() -> None:
    assert ">t<" in picture([], "t")


def test_the_address_holds_the_picture_itself() -> None:
    head, _, body = data_url("<svg/>").partition(",")
    assert (head, base64.b64decode(body)) == ("data:image/svg+xml;base64", b"<svg/>")
