"""Where the volumes are devices: both repairs, as a dd ends at the device's end and links are dm
names, and the drill of a host without power.
"""

import pytest

from flows.recover_lockspace import recover
from flows.restore_metadata import restore_metadata
from flows.zero_metadata import zero_metadata
from tasks.lockspace_area import faults, held
from tasks.witnesses import block_at
from tests.lab import care, lockspaces
from tests.lab.cluster import Lab
from tests.lab.control_node import APPROVED, ControlNode
from tests.lab.domain import METADATA
from tests.lab.drills import Bounds, drill

pytestmark = [pytest.mark.lab, pytest.mark.slow]
ZERO = bytes(4096)
GARBAGE = b"\xff recycled \x80".ljust(4096, b"\x81")
BAD = {0: GARBAGE, 52: care.BAD_BLOCK, 1999: GARBAGE, 2000: b"\0 hidden \xff".ljust(4096, b"\0")}


@pytest.fixture(scope="module")
def node(block_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> ControlNode:
    """A control node that serves nothing: the runs are in this process."""
    node = ControlNode(tmp_path_factory.mktemp("block") / "home", block_lab)
    node.prepare()
    return node


def wait_until_well(lab: Lab) -> None:
    lab.wait_until(lambda: at_work(lab) and lab.engine_answers(), 90, "all is well")


def at_work(lab: Lab) -> bool:
    return care.states(lab) == ["EngineDown", "EngineUp", "hands on"]


def test_several_bad_blocks_and_block_0_on_a_device(block_lab: Lab, node: ControlNode) -> None:
    lab = block_lab
    wait_until_well(lab)
    size_bytes, boot = lab.storage.path_of(METADATA).stat().st_size, care.boot_of_engine(lab)
    for host_id, block in BAD.items():
        lab.put_block(host_id, block)
    with node.here(lambda gate, shown: APPROVED):
        zero_metadata.fn("lab")
    data = care.whiteboard(lab)
    assert [block_at(data, n) for n in (52, 1999, 2000)] == [ZERO] * 3
    assert block_at(data, 0).startswith(b"maintenance=0")
    assert lab.storage.path_of(METADATA).stat().st_size == size_bytes
    assert at_work(lab)

    care.on_all(lab, care.STOP)
    lab.ssh("h1", "rm -rf /var/lib/hosted-engine-runbooks/backups")
    lab.ssh("h2", "rm -rf /var/lib/hosted-engine-runbooks/backups")
    with node.here(lambda gate, shown: APPROVED):
        restore_metadata.fn("lab", node.latest())
    data = care.whiteboard(lab)
    assert {n: block_at(data, n) for n in (52, 1999, 2000)} == {n: BAD[n] for n in (52, 1999, 2000)}
    for host_id in (52, 1999, 2000):
        lab.put_block(host_id, ZERO)
    care.on_all(lab, care.START)
    lab.wait_until(lambda: care.left_maintenance(lab), 90, "maintenance is left")
    wait_until_well(lab)
    assert care.boot_of_engine(lab) == boot


def test_a_lockspace_on_a_device(block_lab: Lab, node: ControlNode) -> None:
    lab = block_lab
    wait_until_well(lab)
    boot = care.boot_of_engine(lab)
    lockspaces.spoil(lab, lockspaces.torn())
    lockspaces.wait_until_lost(lab)
    with node.here(lambda gate, shown: APPROVED):
        recover.fn("lab")
    assert faults(lockspaces.slots(lab)) == {}
    assert list(held(lockspaces.slots(lab))) == [1, 2]
    assert at_work(lab)
    assert care.boot_of_engine(lab) == boot


def test_the_hosts_power_is_lost_on_devices(block_lab: Lab) -> None:
    lab, bounds = block_lab, Bounds(block_lab)
    wait_until_well(lab)
    host = care.engine_host(lab)
    title = "The host that runs the engine VM loses its power (devices, two hosts)"
    with drill(lab, "power-off-block", title, bound_seconds=bounds.dead + bounds.boot) as going_on:
        going_on.watch.fault(f"power-off {host}")
        lab.power_off(host)
        going_on.until_started_again()
        going_on.watch.told(f"power-on {host}")
        lab.power_on(host)
    assert care.engine_host(lab) != host
