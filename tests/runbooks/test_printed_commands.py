"""Every `runbook run` that is printed anywhere can be typed: known runbook, complete parameters."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.catalogue import catalogue

ROOT = Path(__file__).parents[2]
FOLDERS = ("tasks", "flows", "runbooks")
COMMAND = re.compile(r"runbook run ([a-z][a-z-]+[^`;(\n]*)")


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the code, an open place as X; and every line of the entries."""
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).glob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (p.value if isinstance(p, ast.Constant) else "X" for p in node.values)
                    yield file.name, "".join(map(str, parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield file.name, re.sub(r"\{\w+\}|%s", "X", node.value)
    for entry in catalogue().values():
        for line in entry.on_failure.way_back:
            yield entry.id, line
        for part in entry.procedure:
            yield f"{entry.id}: {part.name}", part.undo or ""


def printed() -> list[tuple[str, str]]:
    found = {(at, m.group(1)) for at, text in texts() for m in COMMAND.finditer(text)}
    # A piece of an f-string that is whole elsewhere ends in the middle of an option.
    return sorted((at, line) for at, line in found if not line.endswith(("--cluster ",)))


def test_there_are_some() -> None:
    assert len(printed()) >= 10


@pytest.mark.parametrize(("at", "line"), printed())
def test_it_can_be_typed(at: str, line: str) -> None:
    runbook, *words = shlex.split(line.rstrip(" .,"))
    parameters = {each.name: each for each in catalogue()[runbook].parameters}
    given = set()
    while words:
        option, value, *words = words
        name = "cluster" if option == "--cluster" else value.partition("=")[0]
        assert option in ("--cluster", "--param"), f"{at}: {line}"
        assert name in parameters, f"{at}: {line}"
        given.add(name)
    required = {name for name, each in parameters.items() if each.required}
    assert required <= given, f"{at}: {line}"
