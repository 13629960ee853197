"""How the `runbook` command writes: tables and Markdown for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

COMPLETED = 0
FAILED = 1
USAGE = 2
WAITING = 3
NO_SERVER = 4
DETACHED = 130  # as a shell has it for Ctrl-C

PIPE_COLUMNS = 240

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class UsageRefused(Exception):
    """The command was called with something that does not exist or does not fit."""


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return dict(value)


def print_json(value: Any) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, default=plain, indent=2) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table that fits the terminal; cells are text, not markup.

    Written to a file or a pipe nothing is cut or folded, however long the lines.
    """
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(escape, row))
    console = out if out.is_terminal else Console(highlight=False, width=PIPE_COLUMNS)
    console.print(table, soft_wrap=False)


def print_markdown(text: str) -> None:
    """Write Markdown: rendered on a terminal, as it is anywhere else."""
    if out.is_terminal:
        out.print(Markdown(text), soft_wrap=False)
    else:
        sys.stdout.write(text.rstrip() + "\n")
        sys.stdout.flush()


def complain(text: str) -> None:
    """Write an error: what, where, what to do next."""
    err.print(f"runbook: {escape(text)}", style="red")


def tell(text: str) -> None:
    """Write progress, which is no data: to standard error."""
    err.print(escape(text))
