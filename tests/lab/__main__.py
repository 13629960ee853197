"""`python -m tests.lab`: the lab from the command line."""

import argparse
import os
import sys
import time
from collections.abc import Callable

from tests.lab.cluster import Lab
from tests.lab.commands import LabError

Verb = Callable[[Lab, argparse.Namespace], int]


def up(lab: Lab, _arguments: argparse.Namespace) -> int:
    """Bring the hosts up."""
    began = time.monotonic()
    lab.up()
    print(f"{len(lab.hosts)} hosts up after {time.monotonic() - began:.1f} s")
    print(f"inventory: {lab.inventory_path}")
    return 0


def down(lab: Lab, _arguments: argparse.Namespace) -> int:
    """End the lab and forget it."""
    lab.down()
    print(f"lab {lab.name} is down")
    return 0


def status(lab: Lab, _arguments: argparse.Namespace) -> int:
    """Show the hosts; exit code 3 when the lab is down."""
    if not lab.is_up():
        print(f"lab {lab.name} is down")
        return 3
    for host in lab.hosts:
        power = "on" if lab.machine(host.name).has_power() else "off"
        cable = "cut" if lab.network.is_cut(host.name) else "ok"
        answers = "yes" if power == "on" and lab.access.answers(host.name) else "no"
        print(f"{host.name} {host.address}  power {power}  cable {cable}  ssh {answers}")
    print(f"inventory: {lab.inventory_path}\nssh -F {lab.access.ssh_config} h1")
    return 0


def deploy(lab: Lab, _arguments: argparse.Namespace) -> int:
    """Deploy hosted engine on the hosts and wait for the engine."""
    began = time.monotonic()
    lab.deploy()
    print(f"deployed after {time.monotonic() - began:.1f} s")
    lab.wait_for_engine()
    print(f"the engine stand-in answers after {time.monotonic() - began:.1f} s")
    return 0


def ssh(lab: Lab, arguments: argparse.Namespace) -> int:
    """Run a command on a host, or open a shell there."""
    sys.stdout.flush()
    argv = ["ssh", "-F", str(lab.access.ssh_config), arguments.host, *arguments.command]
    os.execvp("ssh", argv)


def on_host(name: str) -> Verb:
    """The verb that calls the lab's method of that name for a host."""

    def verb(lab: Lab, arguments: argparse.Namespace) -> int:
        getattr(lab, name)(arguments.host)
        print(f"{name.replace('_', '-')} {arguments.host}: done")
        return 0

    return verb


VERBS: dict[str, Verb] = {"up": up, "down": down, "status": status, "deploy": deploy, "ssh": ssh}
HOST_VERBS = ("power_off", "power_on", "cut", "heal", "kill_vm")
NEED_NO_LAB = (up, down, status)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default="lab", help="which lab (default: lab)")
    common.add_argument("--storage", choices=("file", "block"), default="file")
    top = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    verbs = top.add_subparsers(required=True, metavar="VERB")
    for name, verb in VERBS.items():
        one = verbs.add_parser(name, parents=[common], help=verb.__doc__)
        one.set_defaults(verb=verb)
        if verb is ssh:
            one.add_argument("host")
            one.add_argument("command", nargs=argparse.REMAINDER)
    for name in HOST_VERBS:
        doc = getattr(Lab, name).__doc__
        one = verbs.add_parser(name.replace("_", "-"), parents=[common], help=doc)
        one.add_argument("host")
        one.set_defaults(verb=on_host(name))
    return top


def main() -> int:
    """Run one verb; 1 with a sentence on standard error when the lab cannot do it."""
    arguments = parser().parse_args()
    lab = Lab(arguments.name, storage=arguments.storage, say=lambda line: print(f"lab: {line}"))
    try:
        if arguments.verb not in NEED_NO_LAB and not lab.is_up():
            raise LabError(f"lab {lab.name} is down; bring it up with: python -m tests.lab up")
        verb: Verb = arguments.verb
        return verb(lab, arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
