"""`python3 -m ha simulate --serve FOLDER`: a simulated cluster that runs on, for who works on it.

In the folder are an inventory for the control node, what happens (`log`), and each host's
`agent.log` below `machines/`.
"""

import argparse
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import TextIO

from ha.config import Paths
from ha.simulator.cluster import Cluster
from ha.simulator.door.ask import ANSWERS, DOOR, LOG, SPEED, ask_door
from ha.simulator.door.desk import Desk
from ha.simulator.door.folder import Folder
from ha.simulator.door.pace import Paced
from ha.simulator.door.served import make_cluster
from ha.simulator.door.server import Door
from ha.simulator.site import Line, Plan

INVENTORY = "inventory.toml"
OURS = ("shared", "machines", "bin", ANSWERS, DOOR, SPEED, LOG, INVENTORY)
SPEED_USUAL = 10.0
MOST_SPEED = 1000.0
OK, WRONG = 0, 1
# By then an engine has been elected and answers.
READY_SECONDS = 300.0
MIGRATION = 'uri = "qemu+tcp://{host}/system"\ndata_uri = "tcp://{address}"\nunsafe = true\n'


class ServeRefused(Exception):
    """Raised when a folder cannot be served from; says why."""


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `simulate` takes for this."""
    parser.add_argument(
        "--serve", type=Path, metavar="FOLDER", help="run a cluster on which runbooks can be run"
    )
    parser.add_argument(
        "--speed", type=_speed, default=SPEED_USUAL, metavar="N", help="with --serve: so fast (10)"
    )
    parser.add_argument(
        "--do", nargs=2, metavar=("FAULT", "FOLDER"), help="let it befall the cluster served there"
    )


def befall(words: str, folder: str, out: TextIO) -> int:
    """Let a fault befall a cluster that is served; return the exit code. Raises ServeRefused."""
    try:
        wrong = ask_door(Path(folder), ["do", words]).decode()
    except OSError as error:
        raise ServeRefused(f"{folder}: nobody serves a cluster there: {error.strerror}") from error
    print(wrong or f"done: {words}", file=out)
    return WRONG if wrong else OK


def serve(folder: Path, plan: Plan, speed: float, out: TextIO) -> int:
    """Serve a new cluster, its engine up, until SIGTERM or SIGINT; return the exit code.

    Raises ServeRefused, SimulationError.
    """
    _make_room(folder)
    cluster, places = make_cluster(replace(plan, log_level=logging.WARNING), folder)
    with cluster, (places.path / LOG).open("a", encoding="utf-8", buffering=1) as log:
        keep = _keeper(cluster, places, log)
        cluster.run_until(READY_SECONDS)
        pace = Paced(cluster, speed)
        desk = Desk(cluster, places, pace)
        notice = pace.after_time

        def after_time() -> None:
            notice()
            keep()

        pace.after_time = after_time
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: pace.stop())
        (places.path / INVENTORY).write_text(inventory_of(cluster, places.path), encoding="utf-8")
        with Door(places, desk):
            (places.path / SPEED).write_text(f"{speed:g}\n", encoding="ascii")
            print(
                f"serving {len(cluster.hosts)} simulated hosts, {speed:g} times as fast:", file=out
            )
            print(f"RUNBOOKS_INVENTORY={places.path / INVENTORY}", file=out, flush=True)
            pace.run()
    return OK


def served(folder: Path) -> bool:
    """Return whether somebody serves a cluster from there."""
    try:
        return bool(ask_door(folder, ["now"]))
    except OSError:
        return False


def inventory_of(cluster: Cluster, folder: Path) -> str:
    """Return the control node's inventory of a cluster, named `lab`."""
    tables = [
        f'[clusters.lab]\ntitle = "simulated"\nsimulated = "{folder}"\n',
        f"[clusters.lab.migration]\n{MIGRATION}",
        '[clusters.lab.engine]\naddress = "192.0.2.250"\n',
    ]
    for host in cluster.hosts:
        tables.append(
            f'[[clusters.lab.hosts]]\nname = "{host.name}"\naddress = "192.0.2.{host.host_id}"\n'
            f"host_id = {host.host_id}\n"
        )
    return "\n".join(tables)


def _make_room(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = sorted({each.name for each in folder.iterdir()} - set(OURS))
        if foreign:
            raise ServeRefused(f"{folder}: {foreign[0]} is there; choose an empty folder")
        if served(folder):
            raise ServeRefused(f"{folder} is served already")
        for name in OURS:
            place = folder / name
            if place.is_dir() and not place.is_symlink():
                rmtree(place)
            else:
                place.unlink(missing_ok=True)
        os.chmod(folder, 0o700)
    except OSError as error:
        raise ServeRefused(f"{folder}: {error.strerror}") from error


def _keeper(cluster: Cluster, places: Folder, log: TextIO) -> Callable[[], None]:
    """Return what writes what has happened since the last time, and forgets it."""

    def keep() -> None:
        for line in cluster.log:
            print(line, file=log)
            if line.kind == "log" and line.host:
                _to_agent_log(places.machine(line.host), line)
        cluster.log.clear()

    return keep


def _to_agent_log(root: Path, line: Line) -> None:
    file = Paths(root).logs / "agent.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as out:
        out.write(f"{line.at_seconds:.2f} {line.text}\n")


def _speed(text: str) -> float:
    value = float(text)
    if not 0 < value <= MOST_SPEED:
        raise argparse.ArgumentTypeError(f"{text}: more than 0, at most {MOST_SPEED:g}")
    return value
