"""A `dd` before the hosts' own: it logs writes to the whiteboard, and can hold them.

Before the bytes are written, or after: then they are on the storage, and nobody has been told.
"""

from pathlib import Path
from typing import Literal

from tests.lab.cluster import Lab

# The host's own dd does the work. Only writes to the storage are logged and held; the hold is
# bounded, so that a test that fails leaves no step behind that waits for ever.
WRAPPER = """\
#!/bin/sh
case "$*" in
  *of=/rhev/*) ;;
  *) exec /usr/bin/dd "$@" ;;
esac
hold() {
  n=0
  while [ -e "/run/lab-dd-hold-$1" ] && [ "$n" -lt 600 ]; do sleep 0.2; n=$((n + 1)); done
}
echo "begun $*" >> /var/log/lab-dd.log
hold before
/usr/bin/dd "$@"
code=$?
hold after
echo "ended $code" >> /var/log/lab-dd.log
exit "$code"
"""
PLACE = "/usr/local/bin/dd"
LOG = "/var/log/lab-dd.log"
HOLD = "/run/lab-dd-hold-"


class WatchedDd:
    """The wrapper on all hosts of a lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def install(self) -> None:
        """Put it in place, with an empty log."""
        for host in self.lab.hosts:
            place = self._file(host.name, PLACE)
            place.write_text(WRAPPER)
            place.chmod(0o755)
            self._file(host.name, LOG).write_text("")

    def remove(self) -> None:
        """Take it away, and let go what it holds."""
        self.release()
        for host in self.lab.hosts:
            self._file(host.name, PLACE).unlink(missing_ok=True)

    def hold(self, when: Literal["before", "after"] = "before") -> None:
        """Let the next writes stand still before, or after, their bytes are on the storage."""
        for host in self.lab.hosts:
            self.lab.ssh(host.name, "touch", HOLD + when)

    def release(self) -> None:
        """Let them go on."""
        for host in self.lab.hosts:
            self.lab.ssh(host.name, "rm", "-f", HOLD + "before", HOLD + "after")

    def begun(self, what: str = "if=/dev/zero") -> list[str]:
        """The writes that were begun, by host: those whose arguments hold `what`."""
        return [
            f"{host.name}: {line.removeprefix('begun ')}"
            for host in self.lab.hosts
            for line in self._lines(host.name)
            if line.startswith("begun") and what in line
        ]

    def ended(self) -> list[str]:
        """How the writes ended, by host."""
        return [
            f"{host.name}: {line.removeprefix('ended ')}"
            for host in self.lab.hosts
            for line in self._lines(host.name)
            if line.startswith("ended")
        ]

    def wait_until_held(self, timeout_seconds: float = 60) -> None:
        """Wait until a write of zeros stands still."""
        self.lab.wait_until(
            lambda: bool(self.begun()) and not self.ended(), timeout_seconds, "a write is under way"
        )

    def _lines(self, host: str) -> list[str]:
        return self._file(host, LOG).read_text().splitlines()

    def _file(self, host: str, path: str) -> Path:
        return self.lab.machine(host).root / path.lstrip("/")
