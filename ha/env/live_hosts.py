"""What an agent knows of the hosts' lives, as its broker keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LiveHosts:
    """The agent's last list of hosts alive and its report; no `age_seconds`: it never gave one.

    Of a host that is neither alive nor known to be dead nobody knows yet.
    """

    host_ids: tuple[int, ...]
    age_seconds: float | None
    report: Mapping[str, object] | None = None
    dead_ids: tuple[int, ...] = ()
