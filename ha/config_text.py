"""The two shapes of a configuration file, from its text: `key=value` lines, and sections.

Text that an editor shows otherwise than a program reads it is refused: control characters, and
line ends that only some readers know.
"""

import configparser
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ha.config import ConfigError, refuse_unknown

LONGEST_BYTES = 1024 * 1024
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_QUOTED = re.compile('"(?P<within>[^"]*)"|(?P<plain>[^"].*)?')
_NO_SECTION = ""
_DIGITS = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
MOST = 1_000_000_000


def read_text(path: Path) -> str:
    """Return the text of a configuration file, at most 1 MiB of UTF-8. Raises ConfigError."""
    remedy = "Check its owner, mode and content"
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_BYTES + 1)
        if len(data) > LONGEST_BYTES:
            raise ConfigError(path, "file", f"is longer than {LONGEST_BYTES} bytes", remedy)
        return data.decode("utf-8")
    except (OSError, ValueError) as error:  # no UTF-8, or a name that no file has
        raise ConfigError(path, "file", f"cannot be read: {error}", remedy) from error


def key_values_of(path: Path, text: str) -> dict[str, str]:
    """Return the `key=value` lines of a text; `path` is what an error names.

    Raises ConfigError, also for a key that is there twice with two values.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(lines_of(path, text), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, equals, value = (part.strip() for part in stripped.partition("="))
        if not equals:
            raise ConfigError(path, key, f"line {number} has no '='", "Write it as key=value")
        if not _KEY.fullmatch(key):
            raise ConfigError(path, repr(key), "is no name of a key", f"Correct line {number}")
        if values.get(key, value) != value:
            problem = f"is there twice, as {values[key]!r} and {value!r}"
            raise ConfigError(path, key, problem, f"Remove one of the two (line {number})")
        if not (unquoted := _QUOTED.fullmatch(value)):
            raise ConfigError(path, key, "has a quote that is not closed", f"See line {number}")
        values[key] = unquoted["within"] or unquoted["plain"] or ""
    return values


def sections_in(path: Path, text: str, known: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the sections of a text; `path` is what an error names. Raises ConfigError."""
    # A section [DEFAULT], whose values count in every other one, is a section like any other.
    parser = configparser.ConfigParser(interpolation=None, default_section=_NO_SECTION)
    try:
        parser.read_string("\n".join(lines_of(path, text)))
    except (configparser.DuplicateOptionError, configparser.DuplicateSectionError) as error:
        key = getattr(error, "option", error.section)
        raise ConfigError(path, key, "is there twice", f"See line {error.lineno}") from error
    except configparser.Error as error:
        problem = str(error).replace("\n", " ")
        raise ConfigError(path, "file", problem, "Write [section], then key=value lines") from error
    sections = {name: dict(parser[name]) for name in parser.sections()}
    refuse_unknown(path, sections, known)
    for values in sections.values():
        for key, value in values.items():
            if "\n" in value:
                raise ConfigError(path, key, "goes on in the next line", "Write it in one line")
    return sections


def number_of(kind: Callable[[str], Any], path: Path, key: str, text: str) -> Any:
    """Return a number from 0 to 1000 million, an int or a float. Raises ConfigError."""
    try:
        value = kind(text if _DIGITS.fullmatch(text) else "no number")
    except ValueError as error:
        raise ConfigError(path, key, f"{text!r} is no number", "Write it in digits") from error
    if not value >= 0:
        raise ConfigError(path, key, f"{text} is less than 0", "Use 0 or more")
    if value > MOST:
        raise ConfigError(path, key, f"{text[:20]} is too much", f"Use {MOST} or less")
    return value


def lines_of(path: Path, text: str) -> list[str]:
    """Return the lines of a text. Raises ConfigError for a control character."""
    lines = text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if found := _CONTROL.search(line):
            problem = f"line {number} has the control character {found[0]!r}"
            raise ConfigError(path, "file", problem, "Remove it, or write the line anew")
    return lines
