"""The host's services, through systemctl."""

import logging
import subprocess
from typing import Protocol

SYSTEMCTL_LIMIT_SECONDS = 90.0
SHUTDOWN_LOOK_SECONDS = 5.0
_STOPPED = ("inactive", "failed")

log = logging.getLogger(__name__)


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


def host_goes_down() -> bool:
    """Whether systemd shuts this host down or reboots it; False when it does not say."""
    try:
        done = _systemctl(
            "is-system-running", allowed=(0, 1, 4), limit_seconds=SHUTDOWN_LOOK_SECONDS
        )
    except ServicesFailed as error:
        log.warning("Whether the host goes down is not known: %s", error)
        return False
    return done.stdout.strip() == "stopping"


def _systemctl(
    *arguments: str,
    allowed: tuple[int, ...] = (0,),
    limit_seconds: float = SYSTEMCTL_LIMIT_SECONDS,
) -> subprocess.CompletedProcess[str]:
    line = " ".join(("systemctl", *arguments))
    try:
        done = subprocess.run(
            ["systemctl", *arguments],
            capture_output=True,
            text=True,
            timeout=limit_seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServicesFailed(f"{line}: {error}") from error
    if done.returncode not in allowed:
        raise ServicesFailed(f"{line}: {done.stderr.strip() or done.stdout.strip()}")
    return done
