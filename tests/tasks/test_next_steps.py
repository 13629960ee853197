"""What is told after a restore: first the maintenance flag, where the whiteboard lacks it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ha.core.record import encode_global
from tasks.lockspace import Lockspace
from tasks.lockspace_restore import read_lockspace_next_steps
from tasks.metadata import LOCKSPACE, Target, Volume
from tasks.restore import read_next_steps
from tasks.run_site import Site
from tasks.runs import entered_run
from tasks.witnesses import maintenance_flag
from tasks.zeroing import flag_command
from tests.fake_cluster import GARBAGE, FakeCluster, fake_cluster
from tests.fake_host import LINK, SD, SIZE_BYTES, TARGET
from tests.fake_lockspace import IDS, IMAGE, PATH, VOLUME

SITE = Site("lab", Target(TARGET, "file", SIZE_BYTES, (LINK,)), "h2", "h1", ("h1", "h3"))
AREA = Lockspace(
    Volume("nfs", SD, IMAGE, VOLUME, LOCKSPACE), Target(PATH, "file", SIZE_BYTES, ()), IDS
)
FLAG = flag_command(TARGET)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with (
        fake_cluster(tmp_path) as cluster,
        entered_run("restore-metadata", parameters={"cluster": "lab"}, mutates=False),
    ):
        yield cluster


@pytest.fixture(params=["metadata", "lockspace"])
def told(request: pytest.FixtureRequest) -> Callable[[], tuple[str, ...]]:
    if request.param == "metadata":
        return lambda: read_next_steps.function(SITE)
    return lambda: read_lockspace_next_steps.function(SITE, AREA)


def test_with_the_flag_the_services_come_first(
    cluster: FakeCluster, told: Callable[[], tuple[str, ...]]
) -> None:
    cluster.put(0, encode_global(True))
    lines = told()
    assert not [line for line in lines if FLAG in line]
    assert "systemctl start ovirt-ha-broker" in lines[-2]
    assert "when all hosts are seen in GlobalMaintenance" in lines[-1]


@pytest.mark.parametrize(
    "block", [encode_global(False), bytes(4096), GARBAGE], ids=["off", "empty", "garbage"]
)
def test_without_it_the_command_that_writes_it_comes_before_any_start(
    cluster: FakeCluster, told: Callable[[], tuple[str, ...]], block: bytes
) -> None:
    cluster.put(0, block)
    lines = told()
    commands = [line for line in lines if FLAG in line or "start" in line.partition(":")[2]]
    assert commands[0].endswith(f"before any of them starts, on h2: {FLAG}")
    by_hand = FLAG.replace(TARGET, str(cluster.file))
    assert cluster.hosts["h2"].run(("sh", "-c", by_hand)).exit_code == 0
    assert maintenance_flag(cluster.file.read_bytes())
    assert FLAG not in "\n".join(told())
