"""boot-rescue: of the host that runs the engine VM, which heeds its power button."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import YES, add_vm
from tests.rehearsal import Rehearsal


@contextmanager
def at_work(folder: Path) -> Iterator[FakeCluster]:
    with fake_cluster(folder, bad={}) as cluster:
        add_vm(cluster)
        yield cluster


REHEARSAL = Rehearsal(
    "boot-rescue",
    at_work,
    {"medium": "/var/lib/rescue.iso"},
    answers=dict.fromkeys(("approve_rescue", "approve_power_off", "approve_rescue_done"), YES),
)
