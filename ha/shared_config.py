"""The types of `--get-shared-config` and `--set-shared-config`: their keys, values and edits.

`he_local` is hosted-engine.conf of this host, `he_shared` the copy from which hosts are deployed,
`broker` the broker.conf of all hosts, `ha` this host's ha.conf, `vm` the engine VM's definition.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from ha.config_broker import EMAIL_KEYS, METRICS_KEYS, SECTIONS, broker_conf_of
from ha.config_host import host_conf_of
from ha.config_text import key_values_of, sections_in
from ha.local_maintenance import FLAGS
from ha.vm_conf import parse_vm_conf

TYPES = ("he_local", "broker", "he_shared", "ha")
READ_ONLY = "vm"
# The types that are in the archive, each with its file there.
SHARED = {"broker": "broker.conf", "he_shared": "hosted-engine.conf", READ_ONLY: "vm.conf"}
# What a file may lack and still be given.
_OPTIONAL = {
    "broker": (
        *(f"email.{key}" for key in EMAIL_KEYS),
        *(f"metrics.{key}" for key in METRICS_KEYS),
    ),
    "ha": tuple(FLAGS),
    **dict.fromkeys(
        ("he_local", "he_shared"),
        ("network_test", "tcp_t_address", "tcp_t_port", "iscsi_paths_blacklist"),
    ),
}
_HEADER = re.compile(r"\[[^]]+\]\s*")
_OPTION = re.compile("[=:]")


def keys_of(kind: str, path: Path, text: str) -> dict[str, str | None]:
    """Return the keys of a type, with None for those that may be set and are not there.

    Those of `broker` have their section before a dot. Raises ConfigError, VmConfError.
    """
    found: dict[str, str | None] = dict.fromkeys(sorted(_OPTIONAL.get(kind, ())))
    if kind == "broker":
        for section, values in sections_in(path, text, SECTIONS).items():
            found |= {f"{section}.{key}": value for key, value in values.items()}
    elif kind == READ_ONLY:
        specs = parse_vm_conf(text).values
        found |= {key: spec for key, spec in specs.items() if isinstance(spec, str)}
    else:
        found |= key_values_of(path, text)
    return found


def named(kind: str, keys: Mapping[str, str | None], key: str) -> str | None:
    """Return the full name of a key of this type; None when it has none of this name.

    A key of `broker` may be named without its section while only one section has it.
    """
    if key in keys:
        return key
    within = [full for full in keys if kind == "broker" and full.partition(".")[2] == key]
    return within[0] if len(within) == 1 else None


def edited(kind: str, text: str, key: str, value: str) -> str:
    """Return the text of a type with a new value for a key; all else stays as it is written."""
    lines = text.splitlines()
    if kind != "broker":
        return _joined(_edit(lines, key, value, _plain_key))
    section, _, option = key.partition(".")
    if (place := _section(lines, section)) is None:
        lines += ["", f"[{section}]"]
        place = len(lines), len(lines)
    first, end = place
    within = _edit(lines[first:end], option, value, _option)
    return _joined([*lines[:first], *within, *lines[end:]])


def check(kind: str, path: Path, text: str) -> None:
    """Raise ConfigError when the text of a type cannot be used; `path` is what it names."""
    if kind == "broker":
        broker_conf_of(path, text)
    elif kind in ("he_local", "he_shared"):
        host_conf_of(path, key_values_of(path, text))


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _edit(lines: list[str], key: str, value: str, key_in: Callable[[str], str]) -> list[str]:
    """Replace the value wherever the key has one, or add a line behind the last one."""
    changed = [f"{key}={value}" if key_in(line) == key else line for line in lines]
    if any(key_in(line) == key for line in lines):
        return changed
    last = max((at for at, line in enumerate(lines, 1) if line.strip()), default=0)
    return [*lines[:last], f"{key}={value}", *lines[last:]]


def _plain_key(line: str) -> str:
    return "" if line.lstrip().startswith("#") else line.partition("=")[0].strip()


def _option(line: str) -> str:
    """As configparser reads it: any case, with = or : behind it."""
    return "" if line.lstrip().startswith(("#", ";")) else _OPTION.split(line)[0].strip().lower()


def _section(lines: list[str], name: str) -> tuple[int, int] | None:
    """Return where a section's lines begin and end; None if it is missing."""
    headers = [at for at, line in enumerate(lines) if _HEADER.fullmatch(line)]
    for at, end in pairwise([*headers, len(lines)]):
        if lines[at].strip() == f"[{name}]":
            return at + 1, end
    return None
