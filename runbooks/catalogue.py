"""The catalogue: what an operator must know of each runbook, and a machine can check.

One TOML file beside this module is one entry. Everything is parsed here, once, into frozen values.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from types import MappingProxyType

from runbooks.toml_table import CatalogueError, Table

RISKS = ("A0", "A1", "A2", "A3")


class Kind(Enum):
    """What a part of a procedure is."""

    CHECK = "check"
    GATE = "gate"
    STEP = "step"


@dataclass(frozen=True, slots=True)
class Part:
    """One check, gate or step, in the place where the procedure has it."""

    kind: Kind
    name: str
    says: str
    stops_when: str | None = None
    undo: str | None = None
    risk: str | None = None
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the flow, as the operator reads it."""

    name: str
    says: str
    required: bool
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What the Howto says, what we do instead, and why."""

    howto: str
    here: str
    why: str


@dataclass(frozen=True, slots=True)
class OnFailure:
    """What a run that did not finish leaves behind, and what to do then."""

    leaves: str
    way_back: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One runbook."""

    id: str
    title: str
    risk: str
    when: str
    effect: str
    source: str
    flow: str
    parameters: tuple[Parameter, ...]
    procedure: tuple[Part, ...]
    on_failure: OnFailure
    undo: str | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    differs_from_howto: tuple[Difference, ...] = ()

    @property
    def checks(self) -> tuple[Part, ...]:
        """The parts that refuse and change nothing."""
        return tuple(part for part in self.procedure if part.kind is Kind.CHECK)

    @property
    def gates(self) -> tuple[Part, ...]:
        """The parts that ask a person."""
        return tuple(part for part in self.procedure if part.kind is Kind.GATE)

    @property
    def steps(self) -> tuple[Part, ...]:
        """The parts that look, change or wait."""
        return tuple(part for part in self.procedure if part.kind is Kind.STEP)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all parts, in the order of the procedure."""
        return tuple(part.name for part in self.procedure)


@cache
def catalogue() -> Mapping[str, Entry]:
    """Return the entries of the TOML files beside this module, by id.

    Raises CatalogueError.
    """
    return load(Path(__file__).parent)


def load(folder: Path) -> Mapping[str, Entry]:
    """Return the entries of the TOML files in a folder, by id.

    Raises CatalogueError for an entry that is incomplete, misspelt or given twice.
    """
    entries: dict[str, Entry] = {}
    for file in sorted(folder.glob("*.toml")):
        entry = load_entry(file)
        if entry.id in entries:
            raise CatalogueError(file, "id", f"{entry.id!r} is taken", "choose another id")
        entries[entry.id] = entry
    for entry in entries.values():
        if entry.undo is not None and entry.undo not in entries:
            raise CatalogueError(folder, f"{entry.id}.undo", f"no runbook {entry.undo!r}", "add it")
    return MappingProxyType(entries)


def load_entry(file: Path) -> Entry:
    """Return one entry. Raises CatalogueError."""
    try:
        table = Table(file, "", tomllib.loads(file.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(file, "syntax", str(error), "correct the TOML") from error
    entry = Entry(
        id=table.text("id"),
        title=table.text("title"),
        risk=table.one_of("risk", RISKS),
        when=table.text("when"),
        effect=table.text("effect"),
        source=table.text("source"),
        flow=table.text("flow"),
        parameters=tuple(_parameter(each) for each in table.tables("parameter")),
        procedure=tuple(_part(each) for each in table.tables("procedure")),
        on_failure=_on_failure(table.table("on_failure")),
        undo=table.text_or_none("undo"),
        limits=table.table("limits").numbers(),
        differs_from_howto=tuple(_difference(each) for each in table.tables("differs_from_howto")),
    )
    table.all_used()
    _require_sound(file, entry)
    return entry


def _require_sound(file: Path, entry: Entry) -> None:
    for name in entry.names:
        if entry.names.count(name) > 1:
            raise CatalogueError(file, "procedure", f"{name!r} is there twice", "rename one")
    if not entry.procedure:
        raise CatalogueError(file, "procedure", "has no part", "add the checks and steps")
    if entry.flow.count(":") != 1:
        raise CatalogueError(file, "flow", repr(entry.flow), "write it as package.module:function")
    for part in entry.checks:
        if part.stops_when is None:
            raise CatalogueError(file, part.name, "has no stops_when", "say when it refuses")
    for part in entry.gates:
        if part.risk not in RISKS:
            raise CatalogueError(file, part.name, "has no risk", f"give one of {', '.join(RISKS)}")


def _part(table: Table) -> Part:
    kinds = [kind for kind in Kind if kind.value in table.content]
    if len(kinds) != 1:
        raise CatalogueError(
            table.file, table.key, "is not one of check, gate and step", "name it by one of them"
        )
    part = Part(
        kind=kinds[0],
        name=table.text(kinds[0].value),
        says=table.text("says"),
        stops_when=table.text_or_none("stops_when"),
        undo=table.text_or_none("undo"),
        risk=table.text_or_none("risk"),
        commands=table.texts("commands"),
    )
    table.all_used()
    return part


def _parameter(table: Table) -> Parameter:
    default = table.text_or_none("default")
    optional = table.content.get("optional", False) is True
    table.used.add("optional")
    parameter = Parameter(
        name=table.text("name"),
        says=table.text("says"),
        required=default is None and not optional,
        default=default,
    )
    table.all_used()
    return parameter


def _difference(table: Table) -> Difference:
    difference = Difference(table.text("howto"), table.text("here"), table.text("why"))
    table.all_used()
    return difference


def _on_failure(table: Table) -> OnFailure:
    on_failure = OnFailure(table.text("leaves"), table.texts("way_back"))
    table.all_used()
    return on_failure
