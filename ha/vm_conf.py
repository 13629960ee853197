"""vm.conf: upstream's dialect for the engine VM's definition, read and written.

A line is `key=value` with all blanks removed and everything after `#` cut. A value may be a nested
`{name:value,name:{...}}`, in which a value ends at `,` or `}`. `xmlBase64` holds the libvirt XML
that a start really uses; the plain lines say the same for people, and both are kept in step.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Spec: TypeAlias = "str | dict[str, Spec]"

LISTS = ("devices", "drive", "guestNumaNodes")
XML_KEY = "xmlBase64"
DEEPEST = 8


class VmConfError(Exception):
    """Raised when a vm.conf cannot be understood or contradicts itself."""


@dataclass(frozen=True, slots=True)
class VmConf:
    """The lines of a vm.conf: single keys, and the keys that may be repeated."""

    values: Mapping[str, Spec]
    lists: Mapping[str, tuple[Spec, ...]]

    @property
    def xml(self) -> str | None:
        """The libvirt XML inside, or None; raises VmConfError when it cannot be decoded."""
        coded = self.values.get(XML_KEY)
        if not isinstance(coded, str) or not coded:
            return None
        try:
            return base64.b64decode(coded, validate=True).decode("utf-8")
        except ValueError as error:
            raise VmConfError(f"{XML_KEY} cannot be decoded: {error}") from error

    @property
    def disks(self) -> tuple[Mapping[str, Spec], ...]:
        """The devices of type disk, cdrom included."""
        found = (device for device in self.lists.get("devices", ()) if isinstance(device, dict))
        return tuple(device for device in found if device.get("type") == "disk")


def parse_vm_conf(text: str) -> VmConf:
    """Read a vm.conf; raises VmConfError with the number of a line that is broken.

    A key that is there twice with two values is one: upstream takes the last.
    """
    values: dict[str, Spec] = {}
    lists: dict[str, tuple[Spec, ...]] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"\s+", "", raw).partition("#")[0]
        if not line:
            continue
        key, _, value = line.partition("=")
        try:
            spec = _parse_value(value)
        except VmConfError as error:
            raise VmConfError(f"line {number}: {key}: {error}") from error
        if not key:
            raise VmConfError(f"line {number} has no key")
        if key in LISTS:
            lists[key] = (*lists.get(key, ()), spec)
        elif values.get(key, spec) != spec:
            raise VmConfError(f"line {number}: {key} is there twice, with two values")
        else:
            values[key] = spec
    return VmConf(values, lists)


def format_vm_conf(conf: VmConf, comments: Iterable[str] = ()) -> str:
    """Write a vm.conf; raises VmConfError for a value that the dialect cannot hold."""
    lines = [f"# {comment}" for comment in comments]
    lines += [f"{key}={_format(value, top=True)}" for key, value in conf.values.items()]
    for key, specs in conf.lists.items():
        lines += [f"{key}={_format(spec, top=True)}" for spec in specs]
    return "\n".join(lines) + "\n"


def encode_xml(xml: str) -> str:
    """Return the value of `xmlBase64` for this XML."""
    return base64.b64encode(xml.encode("utf-8")).decode("ascii")


def _parse_value(value: str) -> Spec:
    if not value.startswith("{"):
        return value
    spec, rest = _parse_nested(value, DEEPEST)
    if rest:
        raise VmConfError(f"unexpected {rest!r} after the closing brace")
    return spec


def _parse_nested(text: str, depth: int) -> tuple[dict[str, Spec], str]:
    if not depth:
        raise VmConfError(f"more than {DEEPEST} braces within each other")
    spec: dict[str, Spec] = {}
    rest = text[1:]
    while not rest.startswith("}"):
        name, colon, rest = rest.partition(":")
        if not colon or re.search(r"[{},]", name):
            raise VmConfError(f"no name:value at {name[:30]!r}")
        if name in spec:
            raise VmConfError(f"{name} is there twice")
        if rest.startswith("{"):
            spec[name], rest = _parse_nested(rest, depth - 1)
        else:
            end = re.search(r"[,}]", rest)
            if end is None:
                raise VmConfError("a closing brace is missing")
            spec[name], rest = rest[: end.start()], rest[end.start() :]
        rest = rest.removeprefix(",")
        if not rest:
            raise VmConfError("a closing brace is missing")
    return spec, rest[1:]


def _format(spec: Spec, *, top: bool = False) -> str:
    if isinstance(spec, dict):
        return "{" + ",".join(f"{name}:{_format(value)}" for name, value in spec.items()) + "}"
    forbidden = r"[\s#]" if top else r"[\s#,{}]"
    if re.search(forbidden, spec):
        raise VmConfError(f"{spec!r} cannot be written in a vm.conf")
    return spec
