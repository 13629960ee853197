"""`python3 -m ha simulate`: a scenario's log, or what would happen if.

Needs neither libvirt nor sanlock.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from ha.config import AgentConf, ConfigError, HostedEngineConf, Paths
from ha.config_files import read_agent_conf, read_hosted_engine_conf
from ha.simulator.door.serving import ServeRefused, add_serve_arguments, befall, serve
from ha.simulator.faults import UnknownFault, check_fault, list_of_faults
from ha.simulator.forecast_text import json_of, text_of
from ha.simulator.picture import picture
from ha.simulator.play import play, told
from ha.simulator.processes import SimulationError
from ha.simulator.scenario import MOST_HOSTS, ScenarioError, read_scenario
from ha.simulator.site import Plan
from ha.simulator.timeline import Timeline
from ha.simulator.whatif import RUNS, NeverAtWork, Question, forecast
from ha.whole_file import write_whole

OK, WRONG, BAD_INPUT = 0, 1, 2
DEFAULT_HOSTS = 3
UNTIL_SECONDS = 1800.0
LONGEST_SECONDS = 86_400.0
MOST_RUNS = 1000


class BadInput(Exception):
    """Raised for what was asked and cannot be answered; nothing has been written."""


class _At(argparse.Action):
    """`--at` belongs to the `--what-if` before it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        if not namespace.what_if:
            parser.error("--at SECONDS stands after the --what-if that it belongs to")
        namespace.what_if[-1] = (values, namespace.what_if[-1][1])


class _WhatIf(argparse.Action):
    """A fault, at the first one's time unless --at follows."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        namespace.what_if = [*(namespace.what_if or ()), (0.0, str(values))]


BAD = (BadInput, ConfigError, ScenarioError, UnknownFault, NeverAtWork, ServeRefused)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `simulate` takes."""
    parser.set_defaults(run=lambda options: simulate_main(options, sys.stdout, sys.stderr))
    parser.add_argument("scenario", nargs="?", type=Path, help="a scenario.toml, or its folder")
    parser.add_argument(
        "--what-if", action=_WhatIf, metavar="FAULT", help="as 'power-off host2'; may be repeated"
    )
    parser.add_argument(
        "--at", action=_At, type=_seconds, metavar="SECONDS", help="that fault so long after T"
    )
    add_serve_arguments(parser)
    parser.add_argument("--list-faults", action="store_true", help="say which faults there are")
    asked = parser.add_argument_group("with --what-if")
    asked.add_argument("--config", type=Path, metavar="FILE", help="hosted-engine.conf")
    asked.add_argument("--agent-conf", type=Path, metavar="FILE", help="agent.conf")
    asked.add_argument("--hosts", type=_within(1, MOST_HOSTS), metavar="N")
    asked.add_argument("--vm-on", metavar="HOST", help="where the engine VM runs (host1)")
    asked.add_argument("--seed", type=int, default=0, metavar="N")
    asked.add_argument("--runs", type=_within(1, MOST_RUNS), default=RUNS, metavar="N")
    asked.add_argument("--until", type=_seconds, default=UNTIL_SECONDS, metavar="SECONDS")
    usual = Plan()
    for name in ("boot_seconds", "engine_boot_seconds", "engine_health_seconds"):
        option, default = f"--{name.replace('_', '-')}", getattr(usual, name)
        asked.add_argument(option, type=_seconds, default=default, metavar="SECONDS")
    asked.add_argument("--no-watchdog", action="store_true", help="hosts have none")
    asked.add_argument("--svg", type=Path, metavar="FILE", help="draw the timeline as well")
    asked.add_argument("--json", action="store_true", help="print one JSON object")


def simulate_main(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Do what the options say; return the exit code: 1 when something must not be, 2 for bad input.

    Nothing is written but the answer, and the picture when there is one.
    """
    try:
        if options.list_faults:
            print(list_of_faults(), file=out)
            return OK
        if options.do:
            words, folder = options.do
            return befall(words, folder, out)
        if options.serve:
            settings = _agent_conf(options.agent_conf, Paths(), [])
            hosts = options.hosts or DEFAULT_HOSTS
            plan = Plan(hosts=hosts, seed=options.seed, settings=settings)
            return serve(options.serve, plan, options.speed, out)
        if (options.scenario is None) == (not options.what_if):
            raise BadInput(
                "Give either a scenario or --what-if; --list-faults says what can befall"
            )
        if options.svg is not None and not options.svg.parent.is_dir():
            raise BadInput(f"{options.svg}: its folder does not exist")
        if options.svg is not None and options.svg.is_dir():
            raise BadInput(f"{options.svg}: is a folder")
        return _what_if(options, out) if options.what_if else _scenario(options, out, err)
    except SimulationError as error:
        print(f"simulate: the simulation cannot go on: {error}", file=err)
        return WRONG
    except BAD as error:
        print(f"simulate: {error}", file=err)
        return BAD_INPUT


def _scenario(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    if any((options.config, options.agent_conf, options.hosts, options.vm_on)):
        raise BadInput("A scenario says itself how many hosts there are and what is set on them")
    played = play(read_scenario(options.scenario), looked_at=options.svg is not None)
    _draw(options.svg, played.timeline)
    if options.json:
        lines = [asdict(line) for line in played.lines]
        print(json.dumps({"lines": lines, "wrong": played.wrong}, indent=2), file=out)
    else:
        for line in told(played.lines):
            print(line, file=out)
    for wrong in played.wrong:
        print(f"simulate: wrong: {wrong}", file=err)
    return WRONG if played.wrong else OK


def _what_if(options: argparse.Namespace, out: TextIO) -> int:
    sources: list[str] = []
    question = _question(options, sources)
    made = forecast(question)
    _draw(options.svg, made.run.timeline)
    print(json_of(made, sources) if options.json else text_of(made, sources), file=out)
    return WRONG if made.run.broken else OK


def _draw(file: Path | None, timeline: Timeline | None) -> None:
    if file is not None and timeline is not None:
        try:
            write_whole(file, picture(timeline))
        except OSError as error:
            raise BadInput(f"{file}: {error.strerror}") from error


def _question(options: argparse.Namespace, sources: list[str]) -> Question:
    paths = Paths()
    conf = _host_conf(options.config, paths, sources)
    agent = _agent_conf(options.agent_conf, paths, sources)
    hosts = options.hosts or max(DEFAULT_HOSTS, conf.host_id if conf else 1)
    if options.hosts is None:
        sources.append(f"{hosts} hosts (--hosts)")
    names = [f"host{number}" for number in range(1, hosts + 1)]
    vm_on = options.vm_on or names[0]
    if vm_on not in names:
        raise BadInput(f"--vm-on {vm_on}: the hosts are {', '.join(names)}")
    for at_seconds, words in options.what_if:
        check_fault(names, words)
        if at_seconds >= options.until:
            raise BadInput(f"{words!r} at {at_seconds:g} s comes after the end (--until)")
    plan = Plan(
        hosts=hosts,
        seed=options.seed,
        settings=agent,
        deployment=conf.values if conf else {},
        boot_seconds=options.boot_seconds,
        engine_boot_seconds=options.engine_boot_seconds,
        engine_health_seconds=options.engine_health_seconds,
        watchdog=not options.no_watchdog,
    )
    first = min(at_seconds for at_seconds, _ in options.what_if)
    faults = tuple((at_seconds - first, words) for at_seconds, words in options.what_if)
    return Question(faults, plan, vm_on, options.until, options.runs)


def _host_conf(given: Path | None, paths: Paths, sources: list[str]) -> HostedEngineConf | None:
    file = given or paths.hosted_engine_conf
    if given is None and not file.exists():
        sources.append("no hosted-engine.conf (--config): a deployment of today's form")
        return None
    conf = read_hosted_engine_conf(file)
    sources.append(f"{file}")
    return conf


def _agent_conf(given: Path | None, paths: Paths, sources: list[str]) -> AgentConf:
    file = given or paths.agent_conf
    if given is not None and not file.exists():
        raise BadInput(f"{file}: does not exist")
    sources.append(f"{file}" if file.exists() else "no agent.conf (--agent-conf): the defaults")
    return read_agent_conf(file)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text}: 0 to {LONGEST_SECONDS:g} s")
    return value


def _within(least: int, most: int) -> Any:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text}: {least} to {most}")
        return value

    return number
