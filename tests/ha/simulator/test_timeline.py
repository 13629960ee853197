"""A timeline is what was noted: bars from changes, seconds from the first fault."""

from ha.simulator.timeline import Bar, Change, Mark, timeline

CHANGES = [
    Change(100.0, "h1", "EngineUp", "3400"),
    Change(100.0, "h2", "EngineDown", "3400"),
    Change(104.0, "h1", "EngineUp", "3400"),
    Change(112.0, "h1", "EngineUp", "1800"),
    Change(113.0, "h1", "", ""),
    Change(120.0, "h2", "EngineUp", "3400"),
]
MARKS = [Mark(120.0, "engine good", fault=False), Mark(110.0, "gateway lost")]


def test_seconds_count_from_the_first_fault() -> None:
    made = timeline("gateway", CHANGES, MARKS, end_seconds=130.0)
    assert (made.begin_seconds, made.end_seconds) == (-10.0, 20.0)
    assert made.marks == (Mark(0.0, "gateway lost"), Mark(10.0, "engine good", fault=False))


def test_what_did_not_change_is_one_bar_and_an_empty_word_ends_it() -> None:
    one, two = timeline("gateway", CHANGES, MARKS, end_seconds=130.0).lanes
    assert one.bars == (Bar(-10, 2, "EngineUp", "3400"), Bar(2, 3, "EngineUp", "1800"))
    assert two.bars == (Bar(-10, 10, "EngineDown", "3400"), Bar(10, 20, "EngineUp", "3400"))


def test_changes_count_by_their_time_in_whatever_order_they_come() -> None:
    straight = timeline("x", CHANGES, MARKS, end_seconds=130.0)
    assert timeline("x", CHANGES[::-1], MARKS[::-1], end_seconds=130.0).marks == straight.marks
    assert {lane.name: lane.bars for lane in straight.lanes} == {
        lane.name: lane.bars
        for lane in timeline("x", CHANGES[::-1], MARKS, end_seconds=130.0).lanes
    }


def test_lanes_stand_in_the_order_asked_for_and_then_as_they_came() -> None:
    made = timeline("x", CHANGES, MARKS, end_seconds=130.0, order=("engine", "h2"))
    assert [lane.name for lane in made.lanes] == ["h2", "h1"]


def test_without_a_fault_it_counts_from_the_first_change() -> None:
    made = timeline("quiet", CHANGES, [], end_seconds=130.0)
    assert (made.begin_seconds, made.end_seconds) == (0.0, 30.0)
    assert timeline("nothing", [], [], end_seconds=5.0).lanes == ()
