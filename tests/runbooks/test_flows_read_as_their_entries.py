"""Each flow is its catalogue entry, straight down: the same names in the same order."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from runbooks.catalogue import Entry, catalogue

ENTRIES = tuple(catalogue().values())


def source_of(entry: Entry) -> tuple[str, str]:
    module, _, function = entry.flow.partition(":")
    return Path(inspect.getfile(importlib.import_module(module))).read_text("utf-8"), function


def calls_in(source: str, function: str) -> list[str]:
    """Return what a flow calls, in the order of its text."""
    tree = ast.parse(source)
    body = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == function
    ).body
    calls = [
        node
        for statement in body
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    calls.sort(key=lambda node: (node.lineno, node.col_offset))
    return [node.func.id for node in calls if isinstance(node.func, ast.Name)]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_the_flow_reads_as_its_runbook(entry: Entry) -> None:
    assert tuple(calls_in(*source_of(entry))) == entry.names


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_any_two_neighbours_swapped_are_noticed(entry: Entry) -> None:
    source, function = source_of(entry)
    start = source.index(f"def {function}(")
    for one, other in zip(entry.names, entry.names[1:], strict=False):
        head, body = source[:start], source[start:]
        swapped = body.replace(f"{one}(", "SWAP(").replace(f"{other}(", f"{one}(")
        swapped = swapped.replace("SWAP(", f"{other}(")
        assert tuple(calls_in(head + swapped, function)) != entry.names, (one, other)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_the_flow_takes_the_parameters_of_its_entry(entry: Entry) -> None:
    module, _, function = entry.flow.partition(":")
    taken = inspect.signature(getattr(importlib.import_module(module), function).fn).parameters
    assert tuple(taken) == tuple(each.name for each in entry.parameters)
    for each in entry.parameters:
        default = taken[each.name].default
        assert each.required == (default is inspect.Parameter.empty)
        if each.default is not None:
            assert default == each.default


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_the_flow_branches_nowhere(entry: Entry) -> None:
    source, function = source_of(entry)
    flow = next(
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    assert not [n for n in ast.walk(flow) if isinstance(n, ast.If | ast.While | ast.Try)]
