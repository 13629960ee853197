"""A scenario's file is checked before anything runs; each error says where it is."""

import tomllib
from pathlib import Path

import pytest

from ha.simulator.scenario import Event, Expectation, ScenarioError, read_scenario, scenario_of

GOOD = """
title = "The engine's host loses its power"
hosts = 2
seed = 7
until_seconds = 900
told_from_seconds = 290
[settings.timing]
io_timeout_seconds = 5
bad_health_seconds = 120
[settings.score]
base_score = 2400
[world]
boot_seconds = 90
watchdog = false
[[events]]
at_seconds = 400
host = "host2"
command = "hosted-engine --set-maintenance --mode=global"
[[events]]
at_seconds = 300
do = "power-off host1"
[[expect]]
at_seconds = 900
engine_on = "host2"
engine_good = true
states = { host2 = "EngineUp" }
"""


def test_a_scenario_is_read() -> None:
    read = scenario_of(tomllib.loads(GOOD))
    assert read.title == "The engine's host loses its power"
    assert (read.told_from_seconds, read.until_seconds) == (290, 900)
    plan = read.plan
    assert (plan.hosts, plan.seed, plan.first) == (2, 7, "host1")
    assert (plan.boot_seconds, plan.watchdog, plan.engine_boot_seconds) == (90, False, 40)
    timing = plan.settings.timing
    assert (timing.io_timeout_seconds, timing.bad_health_seconds, timing.loop_seconds) == (
        5,
        120,
        10,
    )
    assert plan.settings.score.base_score == 2400
    assert read.events == (
        Event(300.0, do="power-off host1"),
        Event(400.0, host="host2", command=("--set-maintenance", "--mode=global")),
    )
    assert read.expect == (Expectation(900.0, "host2", True, {"host2": "EngineUp"}),)


WRONG = {
    "until_seconds is None": "hosts = 1",
    "the scenario has 'host', which is unknown": "until_seconds = 1\nhost = 3",
    "hosts is 0: 1 to 64": "until_seconds = 1\nhosts = 0",
    "hosts is '3', not of the type int": "until_seconds = 1\nhosts = '3'",
    "told_from_seconds is 2: a number": "until_seconds = 1\ntold_from_seconds = 2",
    "until_seconds is -1": "until_seconds = -1",
    "until_seconds is nan": "until_seconds = nan",
    "until_seconds is True": "until_seconds = true",
    "first: 'host9' is none of host1, host2, host3": "until_seconds = 1\nfirst = 'host9'",
    r"\[settings\] has 'timings'": "until_seconds = 1\n[settings.timings]",
    r"\[settings.timing\] has 'loop'": "until_seconds = 1\n[settings.timing]\nloop = 3",
    "loop_seconds is 'x', not of the type float": (
        "until_seconds = 1\n[settings.timing]\nloop_seconds = 'x'"
    ),
    "retry_max is 1.5, not of the type int": (
        "until_seconds = 1\n[settings.timing]\nretry_max = 1.5"
    ),
    "host_alive_seconds is not safe": (
        "until_seconds = 1\n[settings.timing]\nhost_alive_seconds = 5"
    ),
    "loop_seconds is inf": "until_seconds = 1\n[settings.timing]\nloop_seconds = inf",
    "boot_seconds is -5": "until_seconds = 1\n[world]\nboot_seconds = -5",
    "watchdog is 1, not of the type bool": "until_seconds = 1\n[world]\nwatchdog = 1",
    r"events is to be written as \[\[events\]\]": "until_seconds = 1\nevents = [1]",
    "an event has 'at'": "until_seconds = 1\n[[events]]\nat = 3",
    "at_seconds is 2: a number of seconds from 0 to 1": (
        "until_seconds = 1\n[[events]]\nat_seconds = 2\ndo = 'kill-vm'"
    ),
    "the event at 1 s: give either do, or host and command": (
        "until_seconds = 1\n[[events]]\nat_seconds = 1"
    ),
    "at 1 s: give either": "until_seconds = 1\n[[events]]\nat_seconds = 1\ncommand = 'x'",
    "at 1 s: 'power-off host4' is not": (
        "until_seconds = 1\n[[events]]\nat_seconds = 1\ndo = 'power-off host4'"
    ),
    "at 1 s: 'h' is none of host1": (
        "until_seconds = 1\n[[events]]\nat_seconds = 1\nhost = 'h'\ncommand = 'hosted-engine'"
    ),
    "'rm -rf /': only hosted-engine can be run": (
        "until_seconds = 1\n[[events]]\nat_seconds = 1\nhost = 'host1'\ncommand = 'rm -rf /'"
    ),
    "No closing quotation": (
        "until_seconds = 1\n[[events]]\nat_seconds = 1\nhost = 'host1'\ncommand = \"'\""
    ),
    "the expectation at 1 s: 'host7' is none of": (
        "until_seconds = 1\n[[expect]]\nat_seconds = 1\nengine_on = 'host7'"
    ),
    "'EngineUpp' is none of": (
        "until_seconds = 1\n[[expect]]\nat_seconds = 1\nstates = { host1 = 'EngineUpp' }"
    ),
    "engine_good is 'yes'": "until_seconds = 1\n[[expect]]\nat_seconds = 1\nengine_good = 'yes'",
    "is not TOML": "until_seconds = ",
}


@pytest.mark.parametrize(("says", "text"), WRONG.items(), ids=WRONG)
def test_what_is_wrong_is_said(says: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text(text)
    with pytest.raises(ScenarioError, match=says) as caught:
        read_scenario(tmp_path)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="No such file"):
        read_scenario(tmp_path / "nothing.toml")
    (tmp_path / "scenario.toml").write_bytes(b"\xff")
    with pytest.raises(ScenarioError, match="is not TOML"):
        read_scenario(tmp_path)
