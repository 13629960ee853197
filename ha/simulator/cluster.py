"""A cluster in virtual time, on which the product's own agents, brokers and command run."""

from typing import Self

from ha.simulator.faults import do_fault
from ha.simulator.host import SimHost
from ha.simulator.invariants import Invariants
from ha.simulator.log_keeper import LogKeeper
from ha.simulator.site import Line, Plan, new_site


class Cluster:
    """Hosts host1..hostN on shared storage, up at 0 s. To be closed, or used by `with`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.log: list[Line] = []
        self._site = new_site(plan, self._say)
        self._keeper = LogKeeper(self._site)
        self._keeper.open()
        self.hosts = tuple(SimHost(self._site, host_id) for host_id in range(1, plan.hosts + 1))
        self.invariants = Invariants(self.hosts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self._site.schedule.now

    def run_until(self, seconds: float) -> None:
        """Let everything happen until then. Raises SimulationError."""
        self._site.schedule.run_until(seconds)

    def do(self, words: str) -> None:
        """Do now what `ha.simulator.faults` knows by these words. Raises UnknownFault."""
        self._say("", "fault", words)
        do_fault(self.hosts, words)

    def close(self) -> None:
        """End all that runs."""
        self._site.schedule.close()
        self._keeper.close()

    def _say(self, host: str, kind: str, text: str) -> None:
        self.log.append(Line(self.now, host, kind, text))
