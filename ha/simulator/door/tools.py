"""The small commands of a simulated host: HA's own, and what knows of virtual time."""

from pathlib import Path

from ha.simulator.command import hosted_engine
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
    """Answer `sleep SECONDS`: virtual ones."""
    call.host.site.schedule.sleep(sum(float(word) for word in call.words))
    return 0


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
