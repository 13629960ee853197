"""What would happen if: the answer is the simulated product's, with a range and its assumptions."""

import json
from dataclasses import replace

import pytest

from ha.config import AgentConf
from ha.core.score import ScoreSettings
from ha.core.timing import Timing
from ha.simulator.forecast_text import clock, json_of, minutes, text_of
from ha.simulator.site import Plan
from ha.simulator.whatif import Forecast, NeverAtWork, Question, forecast

KILLED = Question(((0.0, "kill-vm"),), Plan(), "host2", until_seconds=900.0, runs=2)


@pytest.fixture(scope="module")
def killed() -> Forecast:
    return forecast(KILLED)


def test_a_killed_vm_is_started_elsewhere(killed: Forecast) -> None:
    made = killed
    (outage,) = made.run.outages
    assert (outage.begin_seconds, made.run.comes_back, made.lost) == (0.0, True, 0)
    assert 100 < made.least_seconds <= made.run.down_seconds <= made.most_seconds < 110
    words = [line.text for line in made.run.lines]
    assert any(text.startswith("EngineUnexpectedlyDown (0)") for text in words)
    assert any("[EngineDown/no-peer-scores-higher]" in text for text in words)
    assert "the lease of the VM is free" in words
    assert made.run.timeline.begin_seconds == -60


def test_what_matters_is_told_of_all_runs(killed: Forecast) -> None:
    ranges = killed.ranges
    assert list(ranges) == ["a host asks for the VM", "the VM runs", "it answers"]
    (asked, _), (first, last), (answers, _) = ranges.values()
    assert 0 <= asked <= first <= last < 5
    assert answers - first == pytest.approx(100, abs=2)
    assert "  the VM runs: T+0:00 to T+0:0" in text_of(killed, [])
    assert json.loads(json_of(killed, []))["milestones"]["the VM runs"][0] == round(first, 1)


def test_an_engine_that_nobody_can_start_stays_down() -> None:
    made = forecast(replace(KILLED, faults=((0.0, "power-off all"),)))
    assert (made.lost, made.run.comes_back) == (2, False)
    assert made.run.down_seconds == 900
    assert "From T+0:00 on the engine does not answer any more." in text_of(made, [])
    assert "In 2 of 2 runs it does not answer at the end" in text_of(made, [])


def test_a_host_without_the_engine_is_not_missed() -> None:
    made = forecast(replace(KILLED, faults=((0.0, "power-off host1"),)))
    assert made.run.outages == ()
    assert "The engine answers all the time." in text_of(made, [])


def test_the_settings_of_the_operator_count() -> None:
    longer = replace(KILLED.plan, engine_boot_seconds=140.0)
    assert 200 < forecast(replace(KILLED, plan=longer)).least_seconds < 210
    timing = replace(Timing(), io_timeout_seconds=20)
    dead = replace(KILLED, faults=((0.0, "power-off host2"),), until_seconds=1200.0)
    slow = replace(dead, plan=replace(KILLED.plan, settings=AgentConf(timing=timing)))
    assert forecast(slow).least_seconds > forecast(dead).most_seconds + 30


def test_the_moment_of_the_fault_makes_a_difference() -> None:
    """The lease of a dead host is free so long after its last renewal, of one every 20 s."""
    made = forecast(replace(KILLED, faults=((0.0, "power-off host2"),), runs=3))
    assert 2 < made.most_seconds - made.least_seconds < 21


def test_settings_with_which_nothing_starts_are_told() -> None:
    hopeless = AgentConf(score=replace(ScoreSettings(), base_score=0))
    plan = Plan(settings=hopeless, engine_health_seconds=86_400.0)
    with pytest.raises(NeverAtWork, match="the engine is not at work after 7200 s"):
        forecast(replace(KILLED, plan=plan))


def test_the_text_has_the_table_the_verdict_and_the_assumptions(killed: Forecast) -> None:
    text = text_of(killed, ["agent.conf of north"])
    assert "What if: kill-vm at T+0:00" in text
    assert "  T+0:00  -        fault  kill-vm" in text
    assert "The engine does not answer for 1 min 40 s: from T+0:00 to T+1:40." in text
    assert "  agent.conf of north\n" in text
    assert "sanlock's io_timeout is 10 s" in text


def test_the_same_as_json(killed: Forecast) -> None:
    read = json.loads(json_of(killed, ["x"]))
    assert read["faults"] == [{"at_seconds": 0.0, "do": "kill-vm"}]
    assert read["down_seconds_least"] <= read["down_seconds"] <= read["down_seconds_most"]
    assert (read["outages"][0]["begin_seconds"], read["broken"]) == (0.0, [])
    assert read["assumed"][0] == "x"
    assert {line["kind"] for line in read["lines"]} >= {"fault", "state", "lease", "vm"}


def test_times_as_people_say_them() -> None:
    assert (clock(0.9), clock(61), clock(3600)) == ("T+0:00", "T+1:01", "T+60:00")
    assert (minutes(59.6), minutes(60), minutes(61)) == ("59 s", "1 min 0 s", "1 min 1 s")
