"""Every block of the whiteboard is garbage, the hosts' own and block 0, too."""

import os
from collections.abc import Iterator

import pytest

from flows.zero_metadata import zero_metadata
from ha.core.record import RANGE_BYTES
from tasks.witnesses import bad_blocks, block_at
from tests.lab import care
from tests.lab.cluster import Lab
from tests.lab.control_node import APPROVED, ControlNode
from tests.lab.domain import METADATA

pytestmark = [pytest.mark.lab, pytest.mark.slow]
ZERO = bytes(4096)


def write_range(lab: Lab, data: bytes) -> None:
    """Write over the whole whiteboard, past the hosts."""
    with lab.storage.path_of(METADATA).open("r+b") as volume:
        volume.write(data)
        volume.flush()
        os.fsync(volume.fileno())


@pytest.fixture
def garbage(broken: Lab) -> Iterator[Lab]:
    """The lab with nothing but garbage on its whiteboard, which is taken away in the end."""
    write_range(broken, os.urandom(RANGE_BYTES))
    yield broken
    if bad_blocks(care.whiteboard(broken)):
        care.on_all(broken, care.STOP)
        write_range(broken, bytes(RANGE_BYTES))


def test_the_brokers_survive_it_and_the_run_repairs_it(
    garbage: Lab, control_node: ControlNode
) -> None:
    lab, boot = garbage, care.boot_of_engine(garbage)
    with control_node.here(lambda gate, shown: APPROVED):
        zero_metadata.fn("lab")
    assert care.services(lab) == {"active"}
    data = care.whiteboard(lab)
    assert {block_at(data, n) for n in range(4, 2001)} == {ZERO}
    assert care.unsettled(lab) == ""
    assert care.boot_of_engine(lab) == boot
    restarts = care.on_all(lab, "systemctl show -P NRestarts ovirt-ha-broker")
    assert {count.strip() for count in restarts.values()} == {"0"}
