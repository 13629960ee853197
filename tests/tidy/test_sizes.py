"""Sizes are rules: what nobody wants to open is the long tail, so the tail is capped."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE_LINES = 250
LONG_MODULE_LINES = 400
FUNCTION_LINES = 40
WHY_LONG = "Longer than 250 lines because"


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", modules("flows", "tasks", "ha", "runbooks", "tests"), ids=str)
def test_module_and_functions_are_short(path: Path) -> None:
    source = path.read_text()
    cap = LONG_MODULE_LINES if WHY_LONG in source else MODULE_LINES
    assert len(source.splitlines()) <= cap, f"{path} is longer than {cap} lines: split it"
    for function in functions(ast.parse(source)):
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= FUNCTION_LINES, f"{path}:{function.lineno} {function.name}: {lines} lines"


@pytest.mark.parametrize("path", modules("flows", "tasks", "ha", "runbooks"), ids=str)
def test_module_says_what_it_is(path: Path) -> None:
    source = path.read_text()
    if path.name == "__init__.py":
        assert not source, f"{path} must be empty"
    else:
        assert ast.get_docstring(ast.parse(source)), f"{path} has no docstring"
