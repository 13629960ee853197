"""restore-lockspace: after a run of recover-lockspace, with all services stopped again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.recover_lockspace import recover
from tests.fake_cluster import APPROVED, FakeCluster
from tests.rehearsal import Rehearsal
from tests.rehearsals.recover_lockspace import CHANGING, broken, end_state


@contextmanager
def recovered(folder: Path) -> Iterator[FakeCluster]:
    with broken(folder) as cluster:
        cluster.answers = [APPROVED, APPROVED]
        recover.fn("lab")
        for host in cluster.hosts.values():
            host.run(("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker"))
            host.set("calls", "")
        cluster.publish()
        cluster.asked.clear()
        yield cluster


REHEARSAL = Rehearsal(
    "restore-lockspace",
    recovered,
    lambda cluster: {"run_id": cluster.world.journal.runs("lab")[-1].run_id},
    end_state=end_state,
    mutating=CHANGING,
)
