"""`python3 -m ha agent | broker | replay FILE | simulate ... | whiteboard show FILE`."""

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from ha.config import ConfigError, Paths
from ha.daemon_log import crash_loudly, set_up_log
from ha.replay import replay_main
from ha.replay_text import explain_main
from ha.whiteboard_show import show_main

FAILURE = 1
NOT_CONFIGURED = 255

log = logging.getLogger("ha")


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m ha", description="The resident HA monitor.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, says in (("agent", "decide about the engine VM"), ("broker", "monitors and storage")):
        daemon = verbs.add_parser(name, help=f"the daemon: {says}")
        daemon.set_defaults(run=_serve, daemon=name)
    _add_replay(verbs.add_parser("replay", help="decide again what was recorded, and say why"))
    if find_spec("ha.simulator"):  # which is not installed on hosts
        from ha.simulator.simulate import add_arguments as add_simulate  # noqa: PLC0415

        help_ = "run a scenario, or predict what happens if"
        add_simulate(verbs.add_parser("simulate", help=help_))
    whiteboard = verbs.add_parser("whiteboard", help="look at a whiteboard")
    show = whiteboard.add_subparsers(required=True, metavar="VERB").add_parser(
        "show", help="print its blocks, each judged on its own"
    )
    show.add_argument("--json", action="store_true", help="as a JSON array")
    show.add_argument("file", type=Path, help="a raw metadata file or device")
    show.set_defaults(
        run=lambda options: show_main(options.file, options.json, sys.stdout, sys.stderr)
    )
    return parser


def _add_replay(replay: argparse.ArgumentParser) -> None:
    replay.add_argument("file", type=Path, help="a recording, plain or gzipped")
    form = replay.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON line a turn, as into a pipe")
    form.add_argument("--explain", action="store_true", help="tell what happened, as on a terminal")
    form.add_argument("--all", action="store_true", help="tell it of turns that were alike, too")
    replay.set_defaults(run=_replay)


def _replay(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the reader may have seen enough
    if options.explain or options.all or (sys.stdout.isatty() and not options.json):
        return explain_main(options.file, options.all, sys.stdout, sys.stderr)
    return replay_main(options.file, sys.stdout, sys.stderr)


def _serve(options: argparse.Namespace) -> int:
    # The bindings of libvirt and sanlock are on hosts only; the other verbs run anywhere.
    from ha.agent import LostSight, StartPending  # noqa: PLC0415
    from ha.agent_run import NotConfigured  # noqa: PLC0415
    from ha.daemons import serve_agent, serve_broker  # noqa: PLC0415
    from ha.env.ports import BrokerError  # noqa: PLC0415
    from ha.storage_domain import StorageError  # noqa: PLC0415

    paths = Paths()
    set_up_log(paths.logs / f"{options.daemon}.log")
    crash_loudly()
    try:
        (serve_agent if options.daemon == "agent" else serve_broker)(paths)
    except NotConfigured as error:
        log.error("%s", error)
        return NOT_CONFIGURED
    except (ConfigError, StorageError, BrokerError, LostSight, StartPending) as error:
        log.error("%s", error)
        return FAILURE
    return 0


if __name__ == "__main__":
    sys.exit(main())
