"""Pages that are generated are current, and pages that name tests name ones that exist."""

import ast
import re
from pathlib import Path

import pytest

import ha.statedoc
import runbooks.pages
from runbooks.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[2]
DEVIATIONS = ROOT / "docs" / "deviations.md"
TROUBLE = ROOT / "docs" / "trouble.md"
TEST_NAME = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_the_page_of_the_state_machine_is_current() -> None:
    assert ha.statedoc.main(["--check"]) == 0


def test_the_pages_of_the_runbooks_are_current() -> None:
    assert runbooks.pages.main(["--check"]) == 0


def test_every_page_of_a_runbook_has_its_runbook() -> None:
    pages = {file.stem for file in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert pages == set(catalogue())


@pytest.mark.parametrize("page", [DEVIATIONS, TROUBLE], ids=lambda page: page.stem)
def test_every_test_named_by_a_page_exists(page: Path) -> None:
    named = TEST_NAME.findall(page.read_text())
    assert named
    for file, name in named:
        assert (ROOT / file).is_file(), file
        assert name in functions(ROOT / file), f"{file} has no {name}"


def test_every_deviation_names_its_reason_and_a_test() -> None:
    rows = [row for row in DEVIATIONS.read_text().splitlines() if row.startswith("| ")]
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        if cells[0] == "upstream":
            continue
        assert len(cells) == 4, row
        assert all(cells), row
        assert TEST_NAME.search(cells[3]), f"no test: {row}"


def test_every_kind_of_trouble_is_pinned() -> None:
    rows = [row for row in TROUBLE.read_text().splitlines() if row.startswith("| ")]
    second = rows.index("| trouble | scenarios |")
    assert all(TEST_NAME.search(row) for row in rows[1:second])
    for row in rows[second + 1 :]:
        named = re.findall(r"`([a-z0-9-]+)`", row)
        assert named, row
        missing = [name for name in named if not (ROOT / "tests/scenarios" / name).is_dir()]
        assert not missing, f"no scenario: {missing}"


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
