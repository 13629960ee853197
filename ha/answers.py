"""Answer files: upstream's INI of `GROUP/name=type:data` lines in one section."""

import configparser
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ha.answer_keys import SECRETS, likely
from ha.config import ConfigError
from ha.config_text import lines_of, read_text

SECTION = "environment:default"
_INTEGER = re.compile("-?[0-9]{1,18}")
_FLOAT = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_LISTS = {"tuple": ",", "list": ",", "multi-str": "\n"}

Answer: TypeAlias = str | bool | int | float | None | tuple[str, ...]


class AnswersError(Exception):
    """Raised when answers cannot be read or used; says file, key and what is wrong."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers by key; a later file's answer stands over an earlier one's."""

    values: Mapping[str, Answer]

    def given(self, key: str) -> bool:
        """Whether there is an answer; none and empty are no answer."""
        return self.values.get(key) not in (None, "", ())

    def text(self, key: str, default: str = "") -> str:
        """Return an answer as text; absent, none and empty give the default.

        Raises AnswersError for an answer of another type.
        """
        value = self.values.get(key)
        if not self.given(key):
            return default
        if isinstance(value, tuple):
            return ",".join(value)
        if not isinstance(value, str):
            kind = type(value).__name__
            raise AnswersError(f"{key}: {kind}:{value} is no text, write it as str:{value}")
        return value

    def number(self, key: str, default: int) -> int:
        """Return an answer as a whole number; raises AnswersError for anything else."""
        value = self.values.get(key)
        if not self.given(key):
            return default
        text = "" if isinstance(value, bool) else str(value)
        if not _INTEGER.fullmatch(text):
            raise AnswersError(f"{key}: {text or str(value)!r} is not a whole number")
        return int(text)


def read_answers(files: Iterable[Path]) -> Answers:
    """Read answer files, the last one ruling; raises AnswersError."""
    values: dict[str, Answer] = {}
    for file in files:
        values.update(_read_one(file))
    for key in values:
        if like := likely(key, values):
            raise AnswersError(f"{key} is unknown. Did you mean {like}? If not, remove it")
    return Answers(values)


def format_answers(answers: Mapping[str, Answer]) -> str:
    """Write answers as upstream does, without secrets."""
    lines = [f"[{SECTION}]"]
    lines += [f"{key}={_format(answers[key])}" for key in sorted(answers) if key not in SECRETS]
    return "\n".join(lines) + "\n"


def _read_one(file: Path) -> dict[str, Answer]:
    # A section [DEFAULT], whose values count in every other one, is a section like any other.
    parser = configparser.ConfigParser(
        interpolation=None, delimiters=("=",), empty_lines_in_values=False, default_section=""
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        lines = lines_of(file, read_text(file))
        parser.read_string("\n".join(lines), source=str(file))
    except ConfigError as error:
        raise AnswersError(str(error)) from error
    except configparser.Error as error:
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
    if not colon:
        raise ValueError(f"{raw!r} has no type, as in str:{raw}")
    if kind in _LISTS:
        return tuple(part.strip() for part in data.split(_LISTS[kind]) if part.strip())
    if "\n" in data:
        raise ValueError(f"{kind}: goes on in the next line; only multi-str: may")
    match kind:
        case "str":
            return data
        case "none":
            return None
        case "int" if _INTEGER.fullmatch(data):
            return int(data)
        case "float" if _FLOAT.fullmatch(data):
            return float(data)
        case "bool" if data in ("True", "False"):
            return data == "True"
    known = {"int": "no whole number", "float": "no number", "bool": "neither True nor False"}
    if kind in known:
        raise ValueError(f"{data!r} is {known[kind]}")
    raise ValueError(f"{kind!r} is no known type")


def _format(value: Answer) -> str:
    if value is None:
        return "none:None"
    if isinstance(value, tuple):
        several = any("," in part for part in value)
        return "multi-str:\n  " + "\n  ".join(value) if several else f"list:{','.join(value)}"
    return f"{type(value).__name__}:{value}"
