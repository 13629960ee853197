"""What a verb that destroys something must have proven before, and what it keeps of the old."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from ha.cli.host import Host, Refused

AGENT = "ovirt-ha-agent"


@dataclass(frozen=True, slots=True)
class Failed:
    """A check that failed, and why; `overridable` is False for what would destroy a live host."""

    check: str
    why: str
    overridable: bool = True

    def __str__(self) -> str:
        return f"{self.check}: {self.why}"


def settle(host: Host, failed: Sequence[Failed], *, refusal: str, force: str, forced: bool) -> None:
    """Refuse because of failed checks, or name each one that the operator's force overrides.

    Raises Refused with every failed check.
    """
    final = [each for each in failed if not each.overridable]
    if final or (failed and not forced):
        lines = [f"{refusal} Checks that failed:", *(f"  {each}" for each in failed)]
        if final:
            names = ", ".join(sorted({each.check for each in final}))
            lines.append(f"Not even {force} overrides {names}.")
        else:
            lines.append(f"Consider {force}, which overrides them.")
        raise Refused("\n".join(lines))
    for each in failed:
        host.say(f"{force} overrides {each}")


def agent_of_this_host(host: Host) -> list[Failed]:
    """The agent here must be stopped. Raises ServicesFailed when systemd does not say."""
    if not host.services.is_active(AGENT):
        return []
    why = f"{AGENT} runs on this host. Stop it first: systemctl stop {AGENT}"
    return [Failed("agent-stopped", why, overridable=False)]


def keep(host: Host, name: str, data: bytes) -> Path:
    """Write a backup, read it back, and print its place and checksum. Raises OSError, Refused.

    Root alone reads it: what it is a copy of may hold passwords.
    """
    folder = host.paths.state / "backups"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    stem = f"{name}-{host.stamp()}"
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    backup = next(path for each in names if not (path := folder / f"{each}.bin").exists())
    with backup.open("xb") as file:
        backup.chmod(0o600)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if backup.read_bytes() != data:
        raise Refused(f"The backup {backup} does not read as it was written; nothing was changed")
    host.say(f"Backup of {len(data)} bytes: {backup} sha256 {hashlib.sha256(data).hexdigest()}")
    return backup
