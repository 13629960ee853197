"""Answer files: upstream's INI of `GROUP/name=type:data` lines in one section."""

import configparser
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

SECTION = "environment:default"
# Upstream keeps these out of every generated file.
SECRETS = frozenset(
    {
        "OVEHOSTED_ENGINE/adminPassword",
        "OVEHOSTED_STORAGE/iSCSIPortalPassword",
        "OVEHOSTED_STORAGE/iSCSIDiscoverPassword",
        "OVEHOSTED_VM/cloudinitRootPwd",
        "OVEHOSTED_VDSM/passwd",
    }
)

Answer: TypeAlias = str | bool | int | float | None | tuple[str, ...]


class AnswersError(Exception):
    """Raised when answers cannot be read or used; says file, key and what is wrong."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers by key; a later file's answer stands over an earlier one's."""

    values: Mapping[str, Answer]

    def text(self, key: str, default: str = "") -> str:
        """Return an answer as text; absent, none and empty give the default."""
        value = self.values.get(key)
        if value is None or value == "":
            return default
        if isinstance(value, tuple):
            return ",".join(value)
        return str(value)

    def number(self, key: str, default: int) -> int:
        """Return an answer as a whole number; raises AnswersError for anything else."""
        text = self.text(key, str(default))
        try:
            return int(text)
        except ValueError as error:
            raise AnswersError(f"{key}: {text!r} is not a whole number") from error


def read_answers(files: Iterable[Path]) -> Answers:
    """Read answer files, the last one ruling; raises AnswersError."""
    values: dict[str, Answer] = {}
    for file in files:
        values.update(_read_one(file))
    return Answers(values)


def format_answers(answers: Mapping[str, Answer]) -> str:
    """Write answers as upstream does, without secrets."""
    lines = [f"[{SECTION}]"]
    lines += [f"{key}={_format(answers[key])}" for key in sorted(answers) if key not in SECRETS]
    return "\n".join(lines) + "\n"


def _read_one(file: Path) -> dict[str, Answer]:
    parser = configparser.ConfigParser(
        interpolation=None, delimiters=("=",), strict=False, empty_lines_in_values=False
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(file.read_text(encoding="utf-8"), source=str(file))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise AnswersError(f"{file}: {error}") from error
    if not parser.has_section(SECTION):
        raise AnswersError(f"{file}: there is no section [{SECTION}]")
    found = {}
    for key, raw in parser.items(SECTION):
        try:
            found[key] = _parse(raw)
        except ValueError as error:
            raise AnswersError(f"{file}: {key}: {error}") from error
    return found


def _parse(raw: str) -> Answer:
    kind, colon, data = raw.partition(":")
    plain = {"str": str, "int": int, "float": float}
    lists = {"tuple": ",", "list": ",", "multi-str": "\n"}
    if not colon:
        raise ValueError(f"{raw!r} has no type, as in str:{raw}")
    if kind in plain:
        value: str | int | float = plain[kind](data)
        return value
    if kind == "none":
        return None
    if kind == "bool":
        if data not in ("True", "False"):
            raise ValueError(f"{data!r} is neither True nor False")
        return data == "True"
    if kind in lists:
        return tuple(part.strip() for part in data.split(lists[kind]) if part.strip())
    raise ValueError(f"{kind!r} is no known type")


def _format(value: Answer) -> str:
    if value is None:
        return "none:None"
    if isinstance(value, tuple):
        return f"list:{','.join(value)}"
    return f"{type(value).__name__}:{value}"
