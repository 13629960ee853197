"""The small commands of a simulated host: HA's own, and what knows of virtual time."""

from pathlib import Path

from ha.simulator.command import bridge_address, hosted_engine
from ha.simulator.command_ports import VNC_PORT
from ha.simulator.door.call import Call
from ha.simulator.door.packages import MONITOR

# Paths that a host has for itself; whoever runs its commands translates whole words only.
OWN = ("/etc/", "/var/", "/run/", "/rhev/")


def run_hosted_engine(call: Call) -> int:
    """Answer `hosted-engine`: by the product's own, of the version that is installed."""
    if list(call.words) == ["--version"]:
        call.say(call.packages.installed[MONITOR])
        return 0
    words = [_translated(call, word) for word in call.words]
    return hosted_engine(
        call.host,
        call.process,
        call.running,
        words,
        engine_answers=lambda: call.cluster.serves,
        environment=call.environment,
    )


def sleep(call: Call) -> int:
    """Answer `sleep SECONDS [aside]`: virtual ones."""
    call.host.site.schedule.sleep(float(call.words[0]))
    return 0


def timeout(call: Call) -> int:
    """Answer `timeout 5 bash -c SCRIPT ADDRESS PORT`: what listens there speaks first.

    Only the engine VM's screen does.
    """
    address, port = call.words[-2:]
    for host in call.cluster.hosts:
        here = host.on and host.uplink and host.libvirt.vm is not None
        if here and (bridge_address(host.host_id), str(VNC_PORT)) == (address, port):
            call.say("RFB 003.008")
            return 0
    return call.complain(f"connect: Connection refused: {address}:{port}")


def date(call: Call) -> int:
    """Answer `date +%s`."""
    call.say(str(int(call.host.time.wall())))
    return 0


def _translated(call: Call, word: str) -> str:
    option, equals, value = word.partition("=")
    root = call.folder.machine(call.host.name)
    if equals and value.startswith(OWN):
        return f"{option}={Path(f'{root}{value}')}"
    return word
