"""A scenario of the simulator as an operator writes it: a TOML file, checked before anything runs.

    title = "The engine's host loses its power"
    hosts = 3
    first = "host1"            # its services start first, so it starts the VM; "": as it happens
    until_seconds = 900
    told_from_seconds = 290    # the log begins here
    [settings.timing]          # agent.conf [timing] and [score], of all hosts
    [world]                    # boot_seconds, engine_boot_seconds, engine_health_seconds, watchdog
    [[events]]
    at_seconds = 300
    do = "power-off host1"     # or: host = "host2" and command = "hosted-engine --vm-status"
    [[expect]]
    at_seconds = 900
    engine_on = "host2"        # or "nowhere"; also: engine_good, states

docs/simulator.md explains each key.
"""

import logging
import math
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ha.config import AgentConf
from ha.core.bounds import unsafe
from ha.core.facts import State
from ha.core.score import ScoreSettings
from ha.core.timing import Timing
from ha.simulator.faults import UnknownFault, check_fault
from ha.simulator.site import Plan

T = TypeVar("T", ScoreSettings, Timing, Plan)

MOST_HOSTS = 64
LONGEST_SECONDS = 86_400.0
NOWHERE = "nowhere"
COMMAND = "hosted-engine"
FILE = "scenario.toml"
WORLD = ("boot_seconds", "engine_boot_seconds", "engine_health_seconds", "watchdog")
KEYS = (
    *("title", "hosts", "first", "seed", "until_seconds", "told_from_seconds", "breaks"),
    *("settings", "world", "events", "expect"),
)


class ScenarioError(Exception):
    """Raised for a scenario that cannot be run; says which file, what is wrong, and where."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is done to the cluster: a fault's words, or a command on a host."""

    at_seconds: float
    do: str = ""
    host: str = ""
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must be the case at a time; None: it does not matter."""

    at_seconds: float
    engine_on: str | None = None
    """The host on which the VM runs, or NOWHERE."""
    engine_good: bool | None = None
    """Whether the engine's health page says that all is well."""
    states: Mapping[str, str] = field(default_factory=dict)
    """By host, the state that its agent told last."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of it; events and expectations in the order of their times."""

    title: str
    plan: Plan
    until_seconds: float
    told_from_seconds: float = 0.0
    """What was before is not told."""
    breaks: tuple[str, ...] = ()
    """What must never be and is the case here, as the hosts have no watchdog: in its words."""
    events: tuple[Event, ...] = ()
    expect: tuple[Expectation, ...] = ()


def read_scenario(path: Path) -> Scenario:
    """Return the scenario in a file, or in a folder's scenario.toml. Raises ScenarioError."""
    file = path / FILE if path.is_dir() else path
    try:
        return scenario_of(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ScenarioError(f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{file}: is not TOML: {error}") from error
    except ScenarioError as error:
        raise ScenarioError(f"{file}: {error}") from error


def scenario_of(table: Mapping[str, Any]) -> Scenario:
    """Return a scenario, checked. Raises ScenarioError."""
    _only(table, KEYS, "the scenario")
    plan = _plan(table)
    names = [f"host{number}" for number in range(1, plan.hosts + 1)]
    first = _typed(table, "first", str, names[0])
    if first:
        _known(first, names, "first")
    until_seconds = _seconds(table, "until_seconds", LONGEST_SECONDS)
    key = "told_from_seconds"
    events = [_event(entry, names, until_seconds) for entry in _tables(table, "events")]
    expect = [_expectation(entry, names, until_seconds) for entry in _tables(table, "expect")]
    return Scenario(
        title=_typed(table, "title", str, ""),
        plan=replace(plan, first=first),
        until_seconds=until_seconds,
        told_from_seconds=_seconds({key: 0.0, **table}, key, until_seconds),
        breaks=tuple(_typed(table, "breaks", list, [])),
        events=tuple(sorted(events, key=lambda event: event.at_seconds)),
        expect=tuple(sorted(expect, key=lambda expected: expected.at_seconds)),
    )


def _plan(table: Mapping[str, Any]) -> Plan:
    hosts = _typed(table, "hosts", int, 3)
    if not 1 <= hosts <= MOST_HOSTS:
        raise ScenarioError(f"hosts is {hosts}: 1 to {MOST_HOSTS} can be simulated")
    settings = _typed(table, "settings", dict, {})
    _only(settings, ("timing", "score"), "[settings]")
    timing = _filled(Timing(), settings, "timing", "[settings.timing]")
    for wrong in unsafe(timing):
        raise ScenarioError(
            f"[settings.timing]: {wrong.setting} is not safe: {wrong.why}; {wrong.least:g} or more"
        )
    conf = AgentConf(_filled(ScoreSettings(), settings, "score", "[settings.score]"), timing)
    seed = _typed(table, "seed", int, 0)
    plan = _filled(Plan(), table, "world", "[world]", WORLD)
    for name in WORLD:
        if not isinstance(value := getattr(plan, name), bool) and not 0 <= value <= LONGEST_SECONDS:
            raise ScenarioError(f"[world]: {name} is {value:g}: 0 to {LONGEST_SECONDS:g} it may be")
    return replace(plan, hosts=hosts, seed=seed, settings=conf, log_level=logging.WARNING)


def _event(entry: Mapping[str, Any], names: list[str], until_seconds: float) -> Event:
    _only(entry, ("at_seconds", "do", "host", "command"), "an event")
    at_seconds = _seconds(entry, "at_seconds", until_seconds)
    where = f"the event at {at_seconds:g} s"
    do, host = _typed(entry, "do", str, ""), _typed(entry, "host", str, "")
    typed = _typed(entry, "command", str, "")
    if bool(do) == bool(typed) or bool(host) != bool(typed):
        raise ScenarioError(f"{where}: give either do, or host and command")
    if do:
        try:
            check_fault(names, do)
        except UnknownFault as error:
            raise ScenarioError(f"{where}: {error}") from error
        return Event(at_seconds, do=do)
    _known(host, names, where)
    try:
        words = shlex.split(typed)
    except ValueError as error:
        raise ScenarioError(f"{where}: {typed!r}: {error}") from error
    if words[:1] != [COMMAND]:
        raise ScenarioError(f"{where}: {typed!r}: only {COMMAND} can be run")
    return Event(at_seconds, host=host, command=tuple(words[1:]))


def _expectation(entry: Mapping[str, Any], names: list[str], until_seconds: float) -> Expectation:
    _only(entry, ("at_seconds", "engine_on", "engine_good", "states"), "an expectation")
    at_seconds = _seconds(entry, "at_seconds", until_seconds)
    where = f"the expectation at {at_seconds:g} s"
    engine_on = _typed(entry, "engine_on", str, None)
    if engine_on not in (None, NOWHERE):
        _known(engine_on, names, where)
    states = _typed(entry, "states", dict, {})
    for host, state in states.items():
        _known(host, names, where)
        _known(state, [known.value for known in State], where)
    return Expectation(at_seconds, engine_on, _typed(entry, "engine_good", bool, None), states)


def _filled(
    default: T, table: Mapping[str, Any], key: str, where: str, names: tuple[str, ...] = ()
) -> T:
    """The defaults with what a table sets of them."""
    known = names or tuple(each.name for each in fields(default))
    written = _typed(table, key, dict, {})
    _only(written, known, where)
    values = {}
    for name, value in written.items():
        kind = type(getattr(default, name))
        fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
        if not fits or (isinstance(value, bool) and kind is not bool) or not math.isfinite(value):
            raise ScenarioError(f"{where}: {name} is {value!r}, not of the type {kind.__name__}")
        values[name] = kind(value)
    return replace(default, **values)


def _only(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise ScenarioError(f"{where} has {key!r}, which is unknown; known: {', '.join(known)}")


def _known(name: object, names: list[str], where: str) -> None:
    if name not in names:
        raise ScenarioError(f"{where}: {name!r} is none of {', '.join(names)}")


def _typed(table: Mapping[str, Any], key: str, kind: type[Any], default: Any) -> Any:
    value = table.get(key, default)
    if value is not default and type(value) is not kind:
        raise ScenarioError(f"{key} is {value!r}, not of the type {kind.__name__}")
    return value


def _tables(table: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = _typed(table, key, list, [])
    if not all(isinstance(entry, dict) for entry in entries):
        raise ScenarioError(f"{key} is to be written as [[{key}]]")
    return list(entries)


def _seconds(table: Mapping[str, Any], key: str, most: float) -> float:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ScenarioError(f"{key} is {value!r}: a number of seconds from 0 to {most:g} is needed")
    return float(value)
