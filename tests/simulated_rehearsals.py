"""The runbooks that are rehearsed on a simulated cluster: how each is prepared, and judged.

Answers at gates, and whether it changes anything, are as its other rehearsal has them; break-lock,
whose run takes no lock, has none.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from flows.enter_global_maintenance import enter_maintenance
from flows.local_maintenance import maintain_host
from flows.recover_lockspace import recover
from flows.zero_metadata import zero_metadata
from ha.simulator.door.systemctl import state_of
from ha.simulator.site import Plan
from tasks import console_password, reinstall_archive
from tasks.env import use_world
from tasks.lock import holder
from tasks.runs import entered_run
from tasks.settings import Settings
from tasks.whiteboard_table import block_rows
from tests.fake_cluster import APPROVED, GARBAGE, TOO_NEW, fake_cluster
from tests.mortal import Killed, Reaper, mortal_shells
from tests.rehearsal import Rehearsal, rehearsals
from tests.simulated_cluster import SimulatedCluster, simulated_cluster

SETTLED_SECONDS, LONG_SECONDS = 90.0, 120.0
LOST_RUN, MEDIUM = "lost", "/var/lib/rescue.iso"
BREAK_LOCK = Rehearsal(
    "break-lock", fake_cluster, answers={"approve_break": {**APPROVED, "target": LOST_RUN}}
)
FAKE = {**rehearsals(), BREAK_LOCK.runbook: BREAK_LOCK}
CLEAN = "clean-reinstall"
FAKE[CLEAN] = replace(FAKE[CLEAN], answers={"approve_cleaning": {**APPROVED, "target": "host1"}})

Parameters = Callable[[SimulatedCluster], Mapping[str, Any]]


def nothing(_cluster: SimulatedCluster) -> None:
    """A cluster that is well is what the runbook is for."""


@dataclass(frozen=True)
class SimulatedRehearsal:
    """How a runbook is prepared on a simulated cluster."""

    runbook: str
    prepare: Callable[[SimulatedCluster], None] = nothing
    parameters: Parameters = lambda _cluster: {}
    within: Callable[[Path], AbstractContextManager[object]] = nullcontext
    takes_lock: bool = True
    hosts: int = 3
    one_in: int = 1
    """Of so many points one is taken, by lot, where time is short."""

    @property
    def fake(self) -> Rehearsal:
        return FAKE[self.runbook]

    @contextmanager
    def prepared(self, folder: Path) -> Iterator[SimulatedCluster]:
        with self.within(folder), simulated_cluster(folder, Plan(self.hosts)) as cluster:
            self.prepare(cluster)
            yield cluster

    def parameters_for(self, cluster: SimulatedCluster) -> dict[str, Any]:
        return {"cluster": "lab", **self.parameters(cluster)}

    def attempt(self, parameters: Mapping[str, Any], run_id: str) -> None:
        """Enter the run, or enter it again, and execute it."""
        body = self.fake.procedure.__wrapped__  # type: ignore[attr-defined]
        with entered_run(
            self.runbook,
            parameters=dict(parameters),
            run_id=run_id,
            mutates=self.fake.mutates,
            takes_lock=self.takes_lock,
        ):
            body(**parameters)


def parked(cluster: SimulatedCluster) -> list[str]:
    """Return the hosts in local maintenance."""
    return [host.name for host in cluster.cluster.hosts if host.read_local_maintenance()]


def end_state(cluster: SimulatedCluster) -> object:
    """Return what matters of a cluster a while after a run."""
    cluster.served.pace.sleep(SETTLED_SECONDS)
    hosts = cluster.cluster.hosts
    units = {h.name: (state_of(h.agent), state_of(h.broker), h.version) for h in hosts}
    rows = block_rows(cluster.file.read_bytes())
    blocks = [(row.host_id, row.state, row.vm, row.score) for row in rows]
    flag = cluster.cluster.global_maintenance
    lockspace = hosts[0].site.whiteboard_area.readable
    joined = [(host.name, sorted(host.sanlock.spaces)) for host in hosts]
    confs = sorted(cluster.served.folder.path.glob("machines/*/etc/*/*.conf"))
    deployed = [conf.parts[-4] for conf in confs]
    held = holder(cluster.world.journal, "lab")
    vm = cluster.engine_host, cluster.cluster.serves
    secrets = list(cluster.served.folder.path.glob("machines/*/run/hosted-engine-runbooks/*"))
    return units, parked(cluster), vm, flag, blocks, lockspace, joined, deployed, held, secrets


def commands(cluster: SimulatedCluster) -> Counter[str]:
    """Return how often each changing `hosted-engine` command was given, by host."""
    machines = str(cluster.served.folder.path / "machines")
    given = (each.replace(machines, "") for each in cluster.commands())
    return Counter(each for each in given if "--set-maintenance" in each or "--vm-" in each)


def too_new(cluster: SimulatedCluster) -> None:
    cluster.put(52, TOO_NEW)


def in_global_maintenance(_cluster: SimulatedCluster) -> None:
    enter_maintenance.fn("lab", "ticket 7")


def broken_lockspace(cluster: SimulatedCluster) -> None:
    """Agents end when their leases are lost, and start in vain."""
    cluster.cluster.do("corrupt-lockspace")
    cluster.served.pace.sleep(120)


def one_in_local_maintenance(cluster: SimulatedCluster) -> None:
    maintain_host.fn("lab", cluster.engine_host)


def stop_services(cluster: SimulatedCluster) -> None:
    """As the undo of a write wants it."""
    for host in cluster.cluster.hosts:
        shell = cluster.world.shell("lab", host.name)
        stop = ("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker")
        shell.run(stop, timeout_seconds=LONG_SECONDS).checked()


def zeroed(cluster: SimulatedCluster) -> None:
    too_new(cluster)
    cluster.answers = [APPROVED]
    zero_metadata.fn("lab")
    stop_services(cluster)


def recovered(cluster: SimulatedCluster) -> None:
    broken_lockspace(cluster)
    cluster.answers = [APPROVED, APPROVED]
    recover.fn("lab")
    stop_services(cluster)


def last_run(cluster: SimulatedCluster) -> Mapping[str, Any]:
    return {"run_id": cluster.world.journal.runs("lab")[-1].run_id}


def held_by_a_lost_run(cluster: SimulatedCluster) -> None:
    """Its control node went as a step of it began on a host; the step came to its end."""
    reaper = Reaper(lambda point: point.startswith("sent "))
    shells = mortal_shells(cluster.world.shells, reaper, Counter())
    lost = SimulatedRehearsal("enter-global-maintenance")
    try:
        with use_world(replace(cluster.world, shells=shells)):
            lost.attempt({"cluster": "lab", "reason": "ticket 6"}, LOST_RUN)
    except Killed:
        while not cluster.cluster.global_maintenance:
            cluster.served.pace.sleep(1)


def with_medium(cluster: SimulatedCluster) -> None:
    (cluster.served.folder.machine(cluster.engine_host) / MEDIUM.lstrip("/")).touch()


def failed_install(cluster: SimulatedCluster) -> None:
    """The first host's engine never answered, and nobody watches it."""
    assert cluster.served.desk.do("stop-engine") == ""
    stop_services(cluster)


def unreadable_block(cluster: SimulatedCluster) -> None:
    cluster.put(52, GARBAGE)


def own_home(folder: Path) -> AbstractContextManager[object]:
    """The password that is made up lies there."""
    settings = Settings(home=folder / "home")
    return mock.patch.object(console_password, "settings", return_value=settings)


def own_archives(folder: Path) -> AbstractContextManager[object]:
    """The control node's copies lie there."""
    settings = Settings(home=folder / "home")
    return mock.patch.object(reinstall_archive, "settings", return_value=settings)


def no_events(_folder: Path) -> AbstractContextManager[object]:
    """Events need a server."""
    return mock.patch("tasks.watch_anomalies.emit_event")


SIMULATED = {
    each.runbook: each
    for each in (
        SimulatedRehearsal("enter-global-maintenance", parameters=lambda _: {"reason": "ticket 7"}),
        SimulatedRehearsal("leave-global-maintenance", in_global_maintenance),
        SimulatedRehearsal(
            "local-maintenance", parameters=lambda cluster: {"host": cluster.engine_host}
        ),
        SimulatedRehearsal("metadata-too-new", too_new),
        SimulatedRehearsal("recover-lockspace", broken_lockspace),
        SimulatedRehearsal("upgrade", one_in=3),
        SimulatedRehearsal(
            "end-local-maintenance",
            one_in_local_maintenance,
            lambda cluster: {"host": parked(cluster)[0]},
        ),
        SimulatedRehearsal("restore-metadata", zeroed, last_run),
        SimulatedRehearsal("restore-lockspace", recovered, last_run, one_in=3),
        SimulatedRehearsal("break-lock", held_by_a_lost_run, takes_lock=False),
        SimulatedRehearsal("upgrade-howto", one_in=6),  # most of its steps are upgrade's
        SimulatedRehearsal("boot-rescue", with_medium, lambda _: {"medium": MEDIUM}),
        SimulatedRehearsal("engine-console", within=own_home),
        SimulatedRehearsal(
            CLEAN, failed_install, lambda _: {"host": "host1"}, own_archives, hosts=1
        ),
        SimulatedRehearsal("watch", unreadable_block, within=no_events),
    )
}
