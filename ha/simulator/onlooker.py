"""Who looks at a simulated cluster from outside, and tells it as a timeline.

What a log does not have: whether the engine's users can reach it, who holds the VM's lease, and
what the others take the holder for.
"""

from collections.abc import Iterator

from ha.simulator.cluster import Cluster
from ha.simulator.host import SimHost
from ha.simulator.site import Line
from ha.simulator.timeline import Change, Mark, Timeline, timeline

LOOK_SECONDS = 1.0
VM, ENGINE, GOOD, NO_ANSWER = "VM", "engine", "good", "no answer"
LEASE = "lease"
NO_POWER = "no power"
# What sanlock takes a holder for whose renewals fail.
SAID = {"fail": "failing"}


class Onlooker:
    """Lets a cluster run and looks at it once a second of its time."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.changes: list[Change] = []
        self.leases: list[Line] = []
        """What became of the VM's lease, in words."""
        self._shown: dict[str, tuple[str, str]] = {}
        self._lease = ""
        self._states: dict[str, tuple[str, str]] = {}
        self._read = 0
        self._answered_at: float | None = None
        self.look()

    def run_until(self, seconds: float) -> None:
        """Let everything happen until then. Raises SimulationError."""
        while self.cluster.now < seconds:
            self.cluster.run_until(min(self.cluster.now + LOOK_SECONDS, seconds))
            self.look()

    def look(self) -> None:
        """Note what is new."""
        self._read_log()
        for host in self.cluster.hosts:
            self._show(host.name, *self._shown_of(host))
        self._show(VM, place_of_vm(self.cluster))
        good = self.cluster.serves
        at_seconds = self._answered_at if good and self._answered_at else self.cluster.now
        self._show(ENGINE, GOOD if good else NO_ANSWER, at_seconds=at_seconds)
        said = "; ".join(lease_of(self.cluster))
        if said != self._lease:
            self._lease = said
            self.leases.append(Line(self.cluster.now, "", LEASE, said))

    def _show(
        self, lane: str, word: str, note: str = "", *, at_seconds: float | None = None
    ) -> None:
        if self._shown.get(lane) != (word, note):
            self._shown[lane] = (word, note)
            at_seconds = self.cluster.now if at_seconds is None else at_seconds
            self.changes.append(Change(at_seconds, lane, word, note))

    def _read_log(self) -> None:
        self._answered_at = None
        for line in self.cluster.log[self._read :]:
            if (line.kind, line.text) == ("vm", "the engine answers"):
                self._answered_at = line.at_seconds
            if line.kind == "state":
                word, score = line.text.split(":", 1)[0].split(" ", 1)
                self._states[line.host] = word, score.strip("()")
        self._read = len(self.cluster.log)

    def _shown_of(self, host: SimHost) -> tuple[str, str]:
        if not host.on:
            self._states.pop(host.name, None)
            return NO_POWER if host.boot.over else "boots", ""
        if host.boot.frozen:
            return "hangs", ""
        if host.agent.run is None:
            self._states.pop(host.name, None)
            return "no agent", ""
        return self._states.get(host.name, ("joins", ""))


def place_of_vm(cluster: Cluster) -> str:
    """Return where the engine VM runs, or what it waits for."""
    for host in cluster.hosts:
        if host.executes_vm:
            return host.name
    waiting = any(host.on and host.libvirt.starting is not None for host in cluster.hosts)
    return "waits for its lease" if waiting else ""


def lease_of(cluster: Cluster) -> Iterator[str]:
    """Yield who holds the VM's lease and what the other hosts take the holder for."""
    site = cluster.hosts[0].site
    names = {host.host_id: host.name for host in cluster.hosts}
    owner = site.engine.lease.owner
    if not owner:
        yield "the lease of the VM is free"
        return
    yield f"the lease of the VM is held by {names.get(owner, f'host id {owner}')}"
    views: dict[str, list[str]] = {}
    for host in cluster.hosts:
        if host.on and host.host_id != owner:
            for holder in host.sanlock.holders(site.vm_area):
                if holder.host_id == owner:
                    views.setdefault(holder.state, []).append(host.name)
    for state, hosts in sorted(views.items()):
        if state != "live":
            yield f"{SAID.get(state, state)} for {' and '.join(hosts)}"


def timeline_of(
    title: str, looks: Onlooker, *, since_seconds: float = 0.0, lead_seconds: float = 0.0
) -> Timeline:
    """Return the timeline of what was seen, from so long before `since_seconds`."""
    begin = since_seconds - lead_seconds
    before = {change.lane: change for change in looks.changes if change.at_seconds <= begin}
    changes = [Change(begin, each.lane, each.word, each.note) for each in before.values()]
    changes += [change for change in looks.changes if change.at_seconds > begin]
    log = [line for line in looks.cluster.log if line.at_seconds >= begin]
    marks = [Mark(line.at_seconds, line.text) for line in log if line.kind == "fault"]
    marks += [
        Mark(line.at_seconds, f"VM runs on {line.host}", fault=False)
        for line in log
        if (line.kind, line.text) == ("vm", "runs") and line.at_seconds > since_seconds
    ]
    lanes = [*(host.name for host in looks.cluster.hosts), VM, ENGINE]
    return timeline(title, changes, marks, end_seconds=looks.cluster.now, order=lanes)
