"""What may stand where in the tree, and what may not stand anywhere in it."""

import re
import subprocess
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "tasks", "ha", "runbooks")


def tracked() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    binary = {".png", ".gz", ".svg"}
    return [(path, path.read_text()) for path in tracked() if path.suffix not in binary]


def test_top_level_is_the_given_one() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in tracked()}
    given = {*PACKAGES, "tests", "pyproject.toml"}
    usual = {
        *(".ci", ".gitignore", "docs", "Makefile", "constraints.txt"),
        *("README.md", "CHANGELOG.md", "CONTRIBUTING.md"),
    }
    assert folders <= given | usual, folders - given - usual


def test_tests_have_no_init() -> None:
    """With one, `import ha` would find tests/ha."""
    assert not [path for path in (ROOT / "tests").rglob("__init__.py")]


@pytest.mark.parametrize("name", PACKAGES)
def test_no_module_shadows_a_package(name: str) -> None:
    """Prefect puts a flow's folder first on the path: flows/ha.py would shadow `ha`."""
    assert not [path for path in ROOT.glob(f"*/**/{name}.py") if ".venv" not in path.parts]


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_has_one_owner(name: str) -> None:
    """All four names exist on the public index too; a second owner would overwrite ours."""
    assert set(packages_distributions().get(name, [])) <= {"hosted-engine-runbooks"}


def test_no_url_in_the_pins() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text()


def test_no_promise_and_no_dead_option() -> None:
    """No note to do it later, and no en dash pasted before an option (the Howto has those)."""
    later = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    for path, text in texts():
        assert not later.search(text), path
        if path.suffix in {".py", ".sh"}:
            assert not re.search(r"\u2013[a-z]", text), f"{path}: en dash before an option"


def test_debian_packages_are_installed_in_one_place() -> None:
    for path, text in texts():
        if path.name != "Makefile" and path.suffix in {".py", ".sh", ""}:
            assert "apt-get install" not in text or "tests/tidy" in str(path), path
