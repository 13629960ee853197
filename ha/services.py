"""The host's services, through systemctl."""

import subprocess
from typing import Protocol

SYSTEMCTL_LIMIT_SECONDS = 90.0
_STOPPED = ("inactive", "failed")


class ServicesFailed(Exception):
    """Raised by services when systemd refuses."""


class Services(Protocol):
    """The host's services."""

    def is_active(self, unit: str) -> bool:
        """Whether a unit runs or is about to. Raises ServicesFailed when that is not known."""

    def enable_now(self, unit: str) -> None:
        """Start a unit now and at every boot. Raises ServicesFailed."""


class SystemdServices:
    """Units of this host's systemd."""

    def is_active(self, unit: str) -> bool:
        """Whether a unit runs, starts, stops or waits to be started again.

        Raises ServicesFailed when systemd does not say.
        """
        # systemctl(1): is-active ends with 3 for a unit that does not run, and says how it is.
        state = _systemctl("is-active", unit, allowed=(0, 3, 4)).stdout.strip()
        if not state or state == "unknown":
            raise ServicesFailed(f"systemd does not know how {unit} is")
        return state not in _STOPPED

    def enable_now(self, unit: str) -> None:
        """Start a unit now and at every boot. Raises ServicesFailed."""
        _systemctl("enable", "--now", unit)


def _systemctl(
    *arguments: str, allowed: tuple[int, ...] = (0,)
) -> subprocess.CompletedProcess[str]:
    line = " ".join(("systemctl", *arguments))
    try:
        done = subprocess.run(
            ["systemctl", *arguments],
            capture_output=True,
            text=True,
            timeout=SYSTEMCTL_LIMIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServicesFailed(f"{line}: {error}") from error
    if done.returncode not in allowed:
        raise ServicesFailed(f"{line}: {done.stderr.strip() or done.stdout.strip()}")
    return done
