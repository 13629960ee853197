"""The agent's process: it runs until it is told to end, and ends in time."""

import signal

from ha.agent import Agent
from ha.agent_world import World
from ha.config import Settings
from ha.stop_limit import StopLimit

# The longest way out: a call to the broker gives up (20 s), a start is ended (16 s), the farewell
# is written (20 s), the host id is given back (30 s). The unit's TimeoutStopSec is longer.
STOP_LIMIT_SECONDS = 100.0


class NotConfigured(Exception):
    """Raised when hosted-engine.conf says that this host is not to run the agent."""


def run_agent(world: World, settings: Settings) -> None:
    """Run the agent of this host until SIGTERM or SIGINT.

    Raises NotConfigured, LostSight, StartPending, and whatever nobody thought of: the process then
    ends non-zero.
    """
    if not settings.host.configured:
        raise NotConfigured("Hosted Engine is not configured. Shutting down.")
    limit = StopLimit(STOP_LIMIT_SECONDS)

    def stop(_number: int, _frame: object) -> None:
        world.bell.stop()
        limit.begin()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    Agent(world, settings).run()
