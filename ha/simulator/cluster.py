"""A cluster in virtual time, on which the product's own agents, brokers and command run."""

from ha.simulator.host import SimHost
from ha.simulator.site import Line, Plan, new_site


class Cluster:
    """Hosts host1..hostN on shared storage, switched on at 0 s. To be closed at the end."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.log: list[Line] = []
        self._site = new_site(plan, self._say)
        self.hosts = [SimHost(self._site, host_id) for host_id in range(1, plan.hosts + 1)]

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self._site.schedule.now

    def run_until(self, seconds: float) -> None:
        """Let everything happen until then. Raises SimulationError."""
        self._site.schedule.run_until(seconds)

    def close(self) -> None:
        """End all that runs."""
        self._site.schedule.close()

    def _say(self, host: str, kind: str, text: str) -> None:
        self.log.append(Line(self.now, host, kind, text))
