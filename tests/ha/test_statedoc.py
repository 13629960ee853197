"""The page of the state machine says all that the table says."""

from pathlib import Path

import pytest

from ha import statedoc
from ha.core.facts import State
from ha.core.states import RULES


def test_every_rule_has_its_row_under_its_state() -> None:
    sections = statedoc.page().split("\n## ")
    tables = {section.partition("\n")[0]: section for section in sections}
    for state in State:
        rows = [row for row in tables[state].splitlines() if row.startswith("| ")][1:]
        assert [row.split(" | ")[-1].removesuffix(" |") for row in rows] == [
            rule.why for rule in RULES[state]
        ]
        for row, rule in zip(rows, RULES[state], strict=True):
            assert row.startswith(f"| `{rule.name}` | ")
            assert (rule.goto in row) or ("stays" in row) or (rule.do is not None)


def test_the_limits_are_shown_with_their_defaults() -> None:
    text = statedoc.page()
    assert (
        "| `unexpected-limit` | `unexpected_seconds` (560 s) have passed here. | EngineDown |"
        in text
    )
    assert "  EngineMaybeAway --> EngineUnexpectedlyDown: after 40 s" in text


def test_a_stale_page_is_found_and_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statedoc, "PAGE", tmp_path / "state-machine.md")
    assert statedoc.main(["--check"]) == 1
    assert statedoc.main([]) == 0
    assert statedoc.main(["--check"]) == 0
    statedoc.PAGE.write_text(statedoc.PAGE.read_text() + "\n")
    assert statedoc.main(["--check"]) == 1


def test_two_states_have_one_arrow_with_all_its_conditions() -> None:
    arrows = [line for line in statedoc.page().splitlines() if " --> " in line]
    pairs = [arrow.partition(":")[0] for arrow in arrows]
    assert len(set(pairs)) == len(pairs)
    assert "  EngineUp --> EngineStop: best engine not here<br/>peer scores much higher" in arrows
