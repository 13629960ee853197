"""Every scenario ends as it says, and its log is the one that was read and found right.

A scenario is a folder here: README (what happens and why it is right so), scenario.toml
(`ha.simulator.scenario` says what it may hold) and expected.log. A new one needs no code; how to
write its log is in docs/simulator.md.
"""

from pathlib import Path

import pytest

from ha.simulator.play import Played, play, told
from ha.simulator.scenario import Scenario, read_scenario
from tests import scenarios_update

HERE = Path(__file__).parent
FOLDERS = sorted(file.parent for file in HERE.glob("*/scenario.toml"))
LEAST = 40
README_WORDS = 25


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def scenario(folder: Path) -> Scenario:
    return read_scenario(folder)


@pytest.fixture
def played(scenario: Scenario) -> Played:
    return play(scenario)


def test_it_ends_as_it_says_and_its_log_is_the_known_one(folder: Path, played: Played) -> None:
    assert played.wrong == ()
    expected = (folder / "expected.log").read_text(encoding="utf-8")
    anew = f"If this is right: python -m tests.scenarios_update {folder.name}"
    assert "\n".join([*told(played.lines), ""]) == expected, anew


def test_a_person_is_told_what_it_is_about(folder: Path, scenario: Scenario) -> None:
    assert len(scenario.title.split()) > 2
    assert scenario.expect, "it says nothing of how it must end"
    assert len((folder / "README").read_text(encoding="utf-8").split()) >= README_WORDS
    assert {file.name for file in folder.iterdir()} == {"README", "scenario.toml", "expected.log"}


def test_there_are_enough_of_them() -> None:
    assert len(FOLDERS) >= LEAST


def test_a_log_is_written_anew_only_for_a_scenario_that_ends_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scenarios_update, "SCENARIOS", tmp_path)
    expect = '[[expect]]\nat_seconds = 9\nengine_on = "%s"\n'
    for name, where in (("good", "nowhere"), ("bad", "host2")):
        (tmp_path / name).mkdir()
        text = f'title = "x"\nuntil_seconds = 30\n{expect % where}'
        (tmp_path / name / "scenario.toml").write_text(text)
    assert scenarios_update.main([]) == 1
    assert [file.parent.name for file in tmp_path.glob("*/expected.log")] == ["good"]
    assert "bad: wrong: at 9 s the engine VM runs on nowhere" in capsys.readouterr().err
    assert scenarios_update.main(["good"]) == 0
    assert scenarios_update.main(["unheard-of"]) == 2
