"""What comes again: told once, counted, summed up when it is over, and never more than a bound."""

import pytest

from ha.repeats import MOST_KEYS, Note, Repeats

A, B = ("event", "a"), ("event", "b")


@pytest.fixture
def repeats() -> Repeats:
    return Repeats(60)


def test_the_first_time_is_told_at_once(repeats: Repeats) -> None:
    assert repeats.next_over() is None
    assert repeats.came(A, 5) == [Note(A, 1, 5, 5)]
    assert repeats.came(B, 6) == [Note(B, 1, 6, 6)]
    assert repeats.next_over() == 65


def test_what_came_once_needs_no_sum(repeats: Repeats) -> None:
    repeats.came(A, 5)
    assert repeats.over(64.9) == []
    assert repeats.over(65) == []
    assert repeats.next_over() is None


def test_what_came_again_is_summed_up_once_it_has_been_quiet(repeats: Repeats) -> None:
    repeats.came(A, 0)
    assert repeats.came(A, 50) == []
    assert repeats.came(A, 100) == []
    assert repeats.next_over() == 160
    assert repeats.over(159) == []
    assert repeats.over(160) == [Note(A, 3, 0, 100, over=True)]
    assert repeats.over(999) == []


def test_after_it_was_over_it_is_new(repeats: Repeats) -> None:
    repeats.came(A, 0)
    repeats.came(A, 1)
    assert repeats.came(A, 100) == [Note(A, 2, 0, 1, over=True), Note(A, 1, 100, 100)]


def test_that_it_goes_on_is_told_less_and_less_often(repeats: Repeats) -> None:
    told = [note.count for at in range(5000) for note in repeats.came(A, at)]
    assert told == [1, 10, 100, 1000]
    assert repeats.over(9999) == [Note(A, 5000, 0, 4999, over=True)]


def test_no_window_tells_everything() -> None:
    repeats = Repeats(0)
    assert [repeats.came(A, at) for at in (1, 1)] == [[Note(A, 1, 1, 1)]] * 2
    assert repeats.next_over() is None


def test_the_memory_is_bounded_and_what_makes_room_is_summed_up(repeats: Repeats) -> None:
    repeats.came(A, 0)
    repeats.came(A, 1)
    for number in range(MOST_KEYS - 1):
        repeats.came(("event", str(number)), 2)
    assert repeats.came(B, 3) == [Note(A, 2, 0, 1, over=True), Note(B, 1, 3, 3)]
    for number in range(1000):
        repeats.came(("other", str(number)), 4)
    assert len(repeats._seen) == MOST_KEYS
