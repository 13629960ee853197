"""restore-metadata: after a run of metadata-too-new, with all services stopped again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.zero_metadata import zero_metadata
from tests.fake_cluster import APPROVED, FakeCluster, fake_cluster
from tests.rehearsal import Rehearsal


@contextmanager
def zeroed(folder: Path) -> Iterator[FakeCluster]:
    with fake_cluster(folder) as cluster:
        cluster.answers = [APPROVED]
        zero_metadata.fn("lab")
        for host in cluster.hosts.values():
            host.run(("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker"))
            host.set("calls", "")
        cluster.asked.clear()
        yield cluster


REHEARSAL = Rehearsal(
    "restore-metadata",
    zeroed,
    lambda cluster: {"run_id": cluster.world.journal.runs("lab")[-1].run_id},
)
