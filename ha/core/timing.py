"""The limits of the state machine, with upstream's values; which are safe: `ha.core.bounds`."""

from dataclasses import dataclass

HEALTH_PAGE_SECONDS = 20.0
"""The longest that the engine's health page is waited for."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Limits in seconds, and two counts; agent.conf [timing] may set them by these names.

    They must be the same on all hosts. Upstream's are in its agent/constants.py. A value that is
    not safe is refused when agent.conf is read; docs/timing.md derives the bounds.
    """

    loop_seconds: float = 10.0
    """Between two turns of the agent."""
    host_alive_seconds: float = 60.0
    """A host whose timestamp has not changed for so long is not alive."""
    retry_expiration_seconds: float = 600.0
    """So long after the last start of the engine VM the failed ones are forgotten."""
    retry_max: int = 3
    """With more failed starts than this the score is 0."""
    bad_health_seconds: float = 300.0
    """EngineUpBadHealth lasts so long."""
    stopping_seconds: float = 300.0
    """EngineStop lasts so long."""
    starting_seconds: float = 600.0
    """EngineStarting lasts so long."""
    away_seconds: float = 40.0
    """EngineMaybeAway lasts so long."""
    unexpected_seconds: float = 560.0
    """EngineUnexpectedlyDown lasts so long."""
    restart_threshold: int = 800
    """The engine VM moves to a host whose score is better by this many points."""
    history_seconds: float = 900.0
    """So long a look at the cluster is remembered."""
    full_read_seconds: float = 60.0
    """The whole whiteboard is read so often, to find hosts that are not known yet."""
    blind_seconds: float = 60.0
    """Without a look at the shared storage for so long the agent gives up and is restarted."""
    retry_seconds: float = 2.0
    """After a turn that failed to look at the shared storage the next one comes so soon."""
    watch_seconds: float = 0.25
    """While the engine runs on a peer, that peer and the VM's lease are looked at so often."""
    io_timeout_seconds: int = 10
    """sanlock's io_timeout in both lockspaces, in whole seconds; the lease's times follow from it.
    It stands in the lockspaces as well, and a host whose setting differs does not join."""
