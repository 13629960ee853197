"""Commands that log what changes something, before the hosts' own: not the run's own word."""

from collections import Counter
from pathlib import Path

from tests.lab.cluster import Lab

# By program: the arguments (as sh's `case` has them) of the calls that change something.
CHANGING = {
    "dd": "*of=/rhev/*",
    "dnf": "'-y update'*",
    "rm": "*--one-file-system*",
    "sanlock": "*'direct init'*|*rem_lockspace*",
    "systemctl": "start*|stop*|restart*",
    "hosted-engine": "--set-maintenance*|--vm-*|--add-console*|--deploy*",
    "virsh": "*migrate*|*shutdown*|*destroy*|*create*",
}
WRAPPER = """\
#!/bin/sh
case "$*" in {patterns}) echo "{program} $*" >> {log} ;; esac
exec {real} "$@"
"""
FOLDER = "/usr/local/bin"
LOG = "/var/log/lab-commands.log"


class WatchedCommands:
    """The wrappers on all hosts of a lab; the calls of this process's own are logged, too."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def install(self) -> None:
        """Put them in place, with an empty log."""
        for host in self.lab.hosts:
            for program, patterns in CHANGING.items():
                real = self.lab.ssh(host.name, f"command -v {program}").stdout.strip()
                assert not real.startswith(FOLDER), f"{host.name}: {real} is in the way"
                words = {"patterns": patterns, "program": program, "log": LOG, "real": real}
                place = self._file(host.name, f"{FOLDER}/{program}")
                place.write_text(WRAPPER.format(**words))
                place.chmod(0o755)
            self._file(host.name, LOG).write_text("")

    def remove(self) -> None:
        """Take them away."""
        for host in self.lab.hosts:
            for program in CHANGING:
                self._file(host.name, f"{FOLDER}/{program}").unlink(missing_ok=True)

    def given(self) -> Counter[tuple[str, str]]:
        """How often each host was given each command that changes something."""
        return Counter(
            (host.name, line)
            for host in self.lab.hosts
            for line in self._file(host.name, LOG).read_text().splitlines()
        )

    def _file(self, host: str, path: str) -> Path:
        return self.lab.machine(host).root / path.lstrip("/")
