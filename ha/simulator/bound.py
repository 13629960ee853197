"""How long the engine may be away once a host could run it: the sum of what may lie in between.

Each term is the longest that one rule of the product, of sanlock or of the plan can take. A limit
of the state machine lasts up to two turns longer than it says.
"""

from ha.simulator.leases import WATCHDOG_SECONDS
from ha.simulator.site import Plan
from ha.simulator.unit import AGENT, BROKER

LONGEST_LOOK_SECONDS = 30.0


def bound_seconds(plan: Plan) -> float:
    """Seconds within which the engine is well, from when one host at least has nothing wrong.

    The others are without power, or have nothing wrong either.
    """
    timing, io = plan.settings.timing, plan.io_timeout_seconds
    turns = 2 * timing.loop_seconds
    dead = 8 * io + WATCHDOG_SECONDS + 2 * io
    services = AGENT.restart_seconds + BROKER.restart_seconds + dead
    engine_given_up = timing.starting_seconds + timing.stopping_seconds + 2 * turns
    penalty = timing.away_seconds + timing.unexpected_seconds + 2 * turns
    sight = timing.host_alive_seconds + turns
    start = dead + plan.engine_boot_seconds + plan.engine_health_seconds
    looks = 2 * LONGEST_LOOK_SECONDS + 2 * turns
    return plan.boot_seconds + services + engine_given_up + penalty + sight + start + looks
