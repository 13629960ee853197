"""A scenario is played: the same log each time, and what is not as expected is told."""

from dataclasses import replace

from ha.simulator.play import play, told
from ha.simulator.scenario import NOWHERE, Event, Expectation, Scenario
from ha.simulator.site import Line, Plan

HOST_DIES = Scenario(
    title="The engine's host loses its power",
    plan=Plan(first="host1"),
    until_seconds=700.0,
    events=(
        Event(290.0, host="host2", command=("--check-deployed",)),
        Event(300.0, do="power-off host1"),
    ),
    expect=(
        Expectation(295.0, "host1", engine_good=True, states={"host1": "EngineUp"}),
        Expectation(301.0, NOWHERE, engine_good=False),
        Expectation(700.0, "host3", engine_good=True, states={"host3": "EngineUp"}),
    ),
)


def test_a_scenario_is_played_and_what_was_expected_is_the_case() -> None:
    played = play(HOST_DIES)
    assert played.wrong == ()
    log = list(told(played.lines))
    assert "    300 cluster  fault    power-off host1" in log
    assert "    290 host2    command  exit code 0\n" in "\n".join(log)


def test_what_was_before_is_not_told() -> None:
    played = play(replace(HOST_DIES, told_from_seconds=300.0))
    assert [line.text for line in played.lines][:2] == ["power-off host1", "no power"]


def test_it_is_the_same_each_time_and_with_an_onlooker() -> None:
    looked_at = play(HOST_DIES, looked_at=True)
    assert looked_at.lines == play(HOST_DIES).lines
    made = looked_at.timeline
    assert made is not None
    assert [lane.name for lane in made.lanes] == ["host1", "host2", "host3", "VM", "engine"]
    vm = next(lane for lane in made.lanes if lane.name == "VM")
    assert [bar.word for bar in vm.bars] == ["host1", "waits for its lease", "host3"]


def test_what_is_not_as_expected_is_told() -> None:
    wrong = Expectation(200.0, "host2", engine_good=False, states={"host3": "EngineUp"})
    assert play(replace(HOST_DIES, expect=(wrong,), until_seconds=200.0, events=())).wrong == (
        "at 200 s the engine VM runs on host1, not on host2",
        "at 200 s the engine answers",
        "at 200 s host3 is in EngineDown, not in EngineUp",
    )


def test_what_must_never_be_is_wrong_unless_the_scenario_says_it() -> None:
    """Without a watchdog a host that hung goes on with a VM that runs elsewhere by now."""
    hangs = Scenario(
        title="A host without a watchdog hangs",
        plan=Plan(first="host1", watchdog=False),
        until_seconds=810.0,
        events=(Event(300.0, do="freeze host1"), Event(800.0, do="thaw host1")),
        expect=(Expectation(802.0, "host3", engine_good=True),),
    )
    two = "the engine VM runs on host1 and host3"
    assert play(hangs).wrong == (f"800.00 s: {two}",)
    assert play(replace(hangs, breaks=(two,))).wrong == ()
    other = "it rains"
    assert play(replace(hangs, breaks=(two, other))).wrong == (f"it is not so that {other}",)


def test_what_comes_again_and_again_is_told_once_with_how_often() -> None:
    again = [Line(at, "host1", "log", "No answer") for at in (10.0, 50.0, 90.0, 400.0)]
    other = Line(60.0, "host2", "state", "EngineUp (3400): well")
    assert list(told(sorted([*again, other], key=lambda line: line.at_seconds))) == [
        "     10 host1    log      No answer (3 times until 90 s)",
        "     60 host2    state    EngineUp (3400): well",
        "    400 host1    log      No answer",
    ]


def test_of_a_score_that_creeps_steps_are_told() -> None:
    scores = (3400, 3390, 3310, 3300, 3290, 3290)
    creeping = [Line(n, "host1", "state", f"EngineUp ({s}): well") for n, s in enumerate(scores)]
    other = Line(6.0, "host1", "state", "EngineDown (3280): ill")
    assert [line[26:] for line in told([*creeping, other])] == [
        "EngineUp (3400): well",
        "EngineUp (3300): well",
        "EngineDown (3280): ill",
    ]


def test_a_decision_is_not_told_twice() -> None:
    line = Line(1.0, "host1", "log", "Initiated a shutdown [EngineStop/shutdown-vm-accepted]")
    assert list(told([line])) == []
